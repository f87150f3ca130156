package engine

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// still answers every fetch with the same batch, for counting what is allocated besides.
type still struct {
	Source

	batch Batch
}

func (s *still) Fetch(context.Context, Request) (*Batch, error) { return &s.batch, nil }

// Hooks that are not set cost no allocation, on the way of a record, a batch or a commit.
func TestUnsetHooksAllocateNothing(t *testing.T) { //nolint:paralleltest // Others would allocate meanwhile.
	w := &worker{config: hooked(t, consume.Hooks{}), source: &still{}, breaker: &breaker{policy: consume.BreakerPolicy{Failures: 1}}, condition: newCondition()}
	e := &Engine{config: *w.config}
	ctx, m := t.Context(), consume.Message{EventID: "e"}
	fresh := []idem.Event{{ID: "e", Data: &consume.Record{}}}
	nothing := func(context.Context) error { return nil }
	allocations := testing.AllocsPerRun(100, func() {
		_, _ = w.fetch(ctx, Request{})
		_, _ = w.watchOne(ctx, idem.OpProcess, m, func(ctx context.Context) (idem.Outcome, error) {
			return idem.Processed, w.call(ctx, m, func() consume.Messages { return consume.MessagesOf(m) }, nothing)
		})
		w.watchProcess(ctx, idem.OpBatch, m.Offset, func() consume.Messages { return fetchedMessages(fresh) }, func(ctx context.Context) consume.ProcessEnd {
			return consume.ProcessEnd{Err: w.call(ctx, m, func() consume.Messages { return fetchedMessages(fresh) }, nothing)}
		})
		_ = e.WatchCommit(ctx, func() []consume.Place { return make([]consume.Place, len(fresh)) }, nothing)
		_, assignment := watch(ctx, w.config.Hooks.Assignment, consume.AssignmentBegin{Place: w.at(1)})
		assignment.end(consume.AssignmentEnd{})
		w.tell(ctx, 1, consume.Event{Kind: consume.EventRetry})
		var p wait
		p.pause.begin(ctx, w, w.stands(consume.PauseKafka, 1, consume.ErrUnreadable))
		p.giveUp()
		w.breaker.fail(ctx, time.Time{}, w, w.stands(consume.PauseBreaker, 1, consume.ErrUnreadable))
		w.breaker.succeed(time.Time{})
	})
	if allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}

func hooked(t *testing.T, hooks consume.Hooks) *consume.Config {
	t.Helper()
	config, err := consume.Config{
		Handle: func(context.Context, pgx.Tx, consume.Message) error { return nil }, DrainTimeout: time.Second, Hooks: hooks,
	}.Complete(false)
	if err != nil {
		t.Fatal(err)
	}

	return &config
}

// A hook that ends the goroutine in which records are read ahead ends the consumer.
func TestHookThatEndsTheFetcher(t *testing.T) {
	t.Parallel()
	config := hooked(t, consume.Hooks{Fetch: idem.Hook[consume.FetchBegin, consume.FetchEnd]{
		Begin: func(context.Context, consume.FetchBegin) context.Context { runtime.Goexit(); return nil }, //nolint:nlreturn // It does not.
	}})
	f := newFetcher(&worker{owner: new(idem.Owner), config: config, condition: newCondition()}, 0)
	go f.run(t.Context())
	<-f.ended
	if !errors.Is(f.err, consume.ErrHandlerExited) {
		t.Errorf("the fetcher ended with %v", f.err)
	}
}
