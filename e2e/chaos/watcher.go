package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/history"
	"github.com/nova-events/idempotent-consumer/idem"
)

// watcher writes a worker's history.
type watcher struct {
	writer *history.Writer

	mu     sync.Mutex
	count  int64 // of reigns, tries and runs
	reigns map[history.Partition]string
	ended  map[history.Partition]time.Time // when the last try has
}

func newWatcher(writer *history.Writer) *watcher {
	return &watcher{writer: writer, reigns: map[history.Partition]string{}, ended: map[history.Partition]time.Time{}}
}

// hooks are what the consumer calls.
func (w *watcher) hooks() consume.Hooks {
	return consume.Hooks{
		Assignment: idem.Hook[consume.AssignmentBegin, consume.AssignmentEnd]{
			Begin: func(ctx context.Context, b consume.AssignmentBegin) context.Context {
				p := partitionOf(b.Place)
				w.write(history.Entry{Partition: p, Kind: history.Acquired, Reign: w.begin(p), Offsets: []int64{b.Offset}})

				return ctx
			},
			End: func(_ context.Context, b consume.AssignmentBegin, e consume.AssignmentEnd) {
				p := partitionOf(b.Place)
				w.write(history.Entry{Partition: p, Kind: history.GaveUp, Reign: w.end(p), Note: text(e.Err)})
			},
		},
		Process: idem.Hook[consume.ProcessBegin, consume.ProcessEnd]{Begin: w.began, End: w.finished},
		OffsetCommit: idem.Hook[consume.OffsetCommitBegin, consume.OffsetCommitEnd]{
			Begin: func(ctx context.Context, _ consume.OffsetCommitBegin) context.Context {
				return context.WithValue(ctx, sentKey{}, w.writer.Now())
			},
			End: w.committed,
		},
		Event: w.event,
	}
}

// guardHooks are what the guard calls.
func (w *watcher) guardHooks() idem.Hooks {
	commit := func(ctx context.Context, op idem.Op, kind history.Kind) {
		if t := tryIn(ctx); t != (try{}) {
			w.write(history.Entry{Partition: partitionOfOp(op), Kind: kind, Reign: t.reign, Try: t.number})
		}
	}

	return idem.Hooks{
		Claim: idem.Hook[idem.Op, idem.ClaimEnd]{End: func(_ context.Context, op idem.Op, e idem.ClaimEnd) {
			if op.Kind == idem.OpResolve && e.Err == nil {
				w.write(history.Entry{Partition: partitionOfOp(op), Kind: history.Resolved, Offsets: []int64{op.Offset}})
			}
		}},
		Commit: idem.Hook[idem.Op, idem.CommitEnd]{
			Begin: func(ctx context.Context, op idem.Op) context.Context {
				commit(ctx, op, history.Committing)

				return ctx
			},
			End: func(ctx context.Context, op idem.Op, e idem.CommitEnd) {
				if e.Err == nil {
					commit(ctx, op, history.Landed)
				}
			},
		},
	}
}

type (
	sentKey struct{}
	tryKey  struct{}
)

// try is one to process records.
type try struct {
	reign  string
	number int64
}

func tryIn(ctx context.Context) try {
	t, _ := ctx.Value(tryKey{}).(try)

	return t
}

func (w *watcher) began(ctx context.Context, b consume.ProcessBegin) context.Context {
	p, offsets := recordsOf(b.Messages)
	w.mu.Lock()
	w.count++
	t := try{w.reigns[p], w.count}
	w.mu.Unlock()
	w.write(history.Entry{Partition: p, Kind: history.Began, Reign: t.reign, Try: t.number, Offsets: offsets, Note: b.Kind.String()})

	return context.WithValue(ctx, tryKey{}, t)
}

func (w *watcher) finished(ctx context.Context, b consume.ProcessBegin, e consume.ProcessEnd) {
	p, offsets := recordsOf(b.Messages)
	t := tryIn(ctx)
	entry := history.Entry{Partition: p, Reign: t.reign, Try: t.number, Note: text(e.Err)}
	done := e.Processed + e.Duplicates
	if e.Err == nil {
		done = len(offsets)
	}
	if done < len(offsets) {
		entry.Kind, entry.Offsets = history.RolledBack, offsets[done:]
		if errors.Is(e.Err, idem.ErrOutcomeUnknown) {
			entry.Kind = history.Unknown
		}
		w.write(entry)
	}
	if done > 0 {
		entry.Kind, entry.Offsets, entry.Note = history.Committed, offsets[:done], fmt.Sprintf("%d are duplicates", e.Duplicates)
		w.write(entry)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended[p] = w.writer.Now()
}

func (w *watcher) committed(ctx context.Context, b consume.OffsetCommitBegin, e consume.OffsetCommitEnd) {
	if e.Err != nil {
		return
	}
	at, _ := ctx.Value(sentKey{}).(time.Time)
	for _, place := range b.Places {
		w.write(history.Entry{At: at, Partition: partitionOf(place), Kind: history.OffsetTold, Offsets: []int64{place.Offset}})
	}
}

func (w *watcher) event(_ context.Context, e consume.Event) {
	kind, worth := map[consume.EventKind]history.Kind{
		consume.EventRewound: history.Rewound, consume.EventDeadLetter: history.Stored, consume.EventSkipped: history.Skipped,
	}[e.Kind]
	if !worth {
		return
	}
	p := partitionOf(e.Place)
	reign := w.reign(p)
	w.write(history.Entry{Partition: p, Kind: kind, Reign: reign, Offsets: []int64{e.Offset}, Note: text(e.Err)})
	if e.Kind != consume.EventRewound || reign == "" {
		return
	}
	// A running owner has acquired the partition anew, some time since its last try.
	w.mu.Lock()
	since := w.ended[p]
	w.mu.Unlock()
	w.write(history.Entry{At: since, Partition: p, Kind: history.GaveUp, Reign: reign})
	w.write(history.Entry{Partition: p, Kind: history.Acquired, Reign: w.begin(p), Offsets: []int64{e.Offset}})
}

// handled notes that a handler has written an effect.
func (w *watcher) handled(ctx context.Context, e history.Effect) {
	w.write(history.Entry{Partition: e.Partition, Kind: history.Handled, Reign: e.Reign, Try: tryIn(ctx).number, Offsets: []int64{e.Offset}, Run: e.Run, Note: e.Letter})
}

// name is another one each time: for a reign, or a run of the handler.
func (w *watcher) name() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count++

	return fmt.Sprintf("%d.%d", os.Getpid(), w.count)
}

func (w *watcher) begin(p history.Partition) string {
	reign := w.name()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reigns[p], w.ended[p] = reign, w.writer.Now()

	return reign
}

func (w *watcher) end(p history.Partition) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	reign := w.reigns[p]
	delete(w.reigns, p)

	return reign
}

func (w *watcher) reign(p history.Partition) string {
	w.mu.Lock()
	defer w.mu.Unlock()

	return w.reigns[p]
}

// write ends the process if it cannot write: a history with gaps would accuse the innocent.
func (w *watcher) write(e history.Entry) {
	if err := w.writer.Write(e); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(3)
	}
}

func partitionOf(p consume.Place) history.Partition {
	return history.Partition{Topic: p.Topic, Partition: p.Partition}
}

func partitionOfOp(op idem.Op) history.Partition {
	return history.Partition{Topic: op.Partition.Topic, Partition: op.Partition.Number}
}

func partitionOfRecord(r consume.Record) history.Partition {
	return history.Partition{Topic: r.Topic, Partition: r.Partition}
}

func recordsOf(messages consume.Messages) (p history.Partition, offsets []int64) {
	for m := range messages.All {
		offsets = append(offsets, m.Offset)
	}

	return partitionOfRecord(messages.First.Record), offsets
}

func text(err error) string {
	if err == nil {
		return ""
	}

	return err.Error()
}
