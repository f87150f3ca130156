package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// pathKey holds the names of the hooks that a context has passed, and where each began.
type pathKey struct{}

func path(ctx context.Context) string {
	names, _ := ctx.Value(pathKey{}).(string)

	return names
}

// watcher sets all hooks, and knows which of them have begun and not ended.
type watcher struct {
	panics bool // each hook does when it has noted that it was called

	mu     sync.Mutex
	begun  map[string]int // by their paths
	ended  map[string]int
	events map[consume.EventKind]int
	ends   []string // of Process and Pause
}

// note counts a call, and panics if that is wanted.
func (w *watcher) note(count func()) {
	w.mu.Lock()
	count()
	w.mu.Unlock()
	if w.panics {
		panic("no metrics")
	}
}

// watched is a hook that notes its begin and its end, and puts its name into the context.
func watched[B, E any](w *watcher, name string, say func(B, E) string) idem.Hook[B, E] {
	at := func(ctx context.Context) string {
		if w.panics { // Then Begin returns no context.
			return name
		}

		return path(ctx)
	}

	return idem.Hook[B, E]{
		Begin: func(ctx context.Context, _ B) context.Context {
			ctx = context.WithValue(ctx, pathKey{}, strings.TrimPrefix(path(ctx)+"/"+name, "/"))
			w.note(func() { w.begun[at(ctx)]++ })

			return ctx
		},
		End: func(ctx context.Context, begin B, end E) {
			w.note(func() {
				w.ended[at(ctx)]++
				if say != nil {
					w.ends = append(w.ends, say(begin, end))
				}
			})
		},
	}
}

func (w *watcher) watch(c *settings) {
	w.begun, w.ended, w.events = map[string]int{}, map[string]int{}, map[consume.EventKind]int{}
	c.Hooks = consume.Hooks{
		Assignment: watched[consume.AssignmentBegin](w, "Assignment", func(_ consume.AssignmentBegin, end consume.AssignmentEnd) string {
			return fmt.Sprint("assignment: ", kindOf(end.Err))
		}),
		Fetch: watched[consume.FetchBegin, consume.FetchEnd](w, "Fetch", nil),
		Process: watched(w, "Process", func(begin consume.ProcessBegin, end consume.ProcessEnd) string {
			first := begin.Messages.First

			return fmt.Sprint(begin.Kind, " ", first.Offset, "+", begin.Messages.Count, " attempt ", first.Attempt, ": ", end.Processed, " ", end.Duplicates, " ", kindOf(end.Err))
		}),
		Handler: watched(w, "Handler", func(begin consume.HandlerBegin, end consume.HandlerEnd) string {
			return fmt.Sprint("handler ", begin.Messages.First.Offset, "+", begin.Messages.Count, ": ", kindOf(end.Err))
		}),
		OffsetCommit: watched[consume.OffsetCommitBegin, consume.OffsetCommitEnd](w, "OffsetCommit", nil),
		Pause: watched(w, "Pause", func(begin consume.PauseBegin, end consume.PauseEnd) string {
			return fmt.Sprint("pause ", begin.Kind, ": ", end.GoesOn)
		}),
		Event: func(_ context.Context, e consume.Event) { w.note(func() { w.events[e.Kind]++ }) },
	}
	if !w.panics {
		c.guardHooks = idem.Hooks{
			Process: watched[idem.Op, idem.ProcessEnd](w, "idem.Process", nil), Batch: watched[idem.Op, idem.BatchEnd](w, "idem.Batch", nil),
			Claim: watched[idem.Op, idem.ClaimEnd](w, "idem.Claim", nil), Handler: watched[idem.Op, idem.HandlerEnd](w, "idem.Handler", nil),
			Commit: watched[idem.Op, idem.CommitEnd](w, "idem.Commit", nil),
		}
	}
}

// kindOf says what an error is.
func kindOf(err error) string {
	for text, kind := range map[string]error{
		"timeout": consume.ErrHandlerTimeout, "exited": consume.ErrHandlerExited, "fenced": idem.ErrFenced, "canceled": context.Canceled,
	} {
		if errors.Is(err, kind) {
			return text
		}
	}
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, new(*consume.PanicError)):
		return "panic"
	case idem.IsTransient(err):
		return "transient"
	default:
		return "failed"
	}
}

// paths returns where hooks have begun.
func (w *watcher) paths() []string {
	w.mu.Lock()
	defer w.mu.Unlock()

	return slices.Sorted(maps.Keys(w.begun))
}

// said reports whether a Process, Handler, Pause or Assignment has ended so.
func (w *watcher) said(line string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()

	return slices.Contains(w.ends, line)
}

func (w *watcher) began(at string) int {
	w.mu.Lock()
	defer w.mu.Unlock()

	return w.begun[at]
}

// verify checks that each hook that has begun has ended once. The member must have ended.
func (w *watcher) verify(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.begun) == 0 || !maps.Equal(w.begun, w.ended) {
		t.Errorf("begun %v, ended %v", w.begun, w.ended)
	}
}
