package idem_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
)

// depthKey holds the names of the hooks that a context has passed.
type depthKey struct{}

func depth(ctx context.Context) string {
	names, _ := ctx.Value(depthKey{}).(string)

	return names
}

// watcher writes down what its hooks are called for.
type watcher struct {
	mu    sync.Mutex
	lines []string
}

func (w *watcher) add(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, line)
}

func (w *watcher) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines := w.lines
	w.lines = nil

	return lines
}

// watched is a hook that notes its begin and its end, and puts its name into the context.
func watched[R any](w *watcher, name string, say func(R) string) idem.Hook[idem.Op, R] {
	return idem.Hook[idem.Op, R]{
		Begin: func(ctx context.Context, op idem.Op) context.Context {
			w.add(fmt.Sprintf("%s< %v %s %d", name, op.Kind, op.EventID, op.Events))

			return context.WithValue(ctx, depthKey{}, depth(ctx)+name)
		},
		End: func(ctx context.Context, _ idem.Op, result R) { w.add(fmt.Sprintf("%s> %s", depth(ctx), say(result))) },
	}
}

func failure(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, errBoom):
		return "boom"
	case errors.Is(err, idem.ErrFenced):
		return "fenced"
	default:
		return "other"
	}
}

func (w *watcher) hooks() idem.Hooks {
	return idem.Hooks{
		Process: watched(w, "P", func(r idem.ProcessEnd) string { return fmt.Sprint(r.Outcome, " ", failure(r.Err)) }),
		Batch:   watched(w, "B", func(r idem.BatchEnd) string { return outcomes(r.Results) + " " + failure(r.Err) }),
		Claim:   watched(w, "C", func(r idem.ClaimEnd) string { return fmt.Sprint(r.New, " ", failure(r.Err)) }),
		Handler: watched(w, "H", func(r idem.HandlerEnd) string { return failure(r.Err) }),
		Commit:  watched(w, "T", func(r idem.CommitEnd) string { return failure(r.Err) }),
		Cleanup: watched(w, "X", func(r idem.CleanupEnd) string { return fmt.Sprint(r.Report.Complete, " ", failure(r.Err)) }),
	}
}

// Each hook has a beginning and an end, nested as the calls are, with one context.
func TestHooks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var w watcher
	b.guard = newGuard(t, b.pool, idem.Config{Consumer: "orders", Hooks: w.hooks()})
	o := acquire(t, b.guard)
	in := func(err error) idem.Handler {
		return func(ctx context.Context, _ pgx.Tx) error {
			w.add("handler in " + depth(ctx))

			return err
		}
	}
	poison := poisoned{poison: map[string]bool{"bad": true}}
	handled, runs := once("x", func(ctx context.Context, tx pgx.Tx) error { return raise(ctx, tx, "40001") })
	for _, step := range []struct {
		name string
		call func(ctx context.Context) error
		want string
	}{
		{"ProcessIfNew", func(ctx context.Context) error { return second(b.guard.ProcessIfNew(ctx, "a", in(nil))) },
			"P< process a 1, C< process a 1, PC> 1 ok, H< process a 1, handler in PH, PH> ok, T< process a 1, PT> ok, P> processed ok"},
		{"a duplicate", func(ctx context.Context) error { return second(b.guard.ProcessIfNew(ctx, "a", in(nil))) },
			"P< process a 1, C< process a 1, PC> 0 ok, P> already processed ok"},
		{"a failure", func(ctx context.Context) error { return second(b.guard.ProcessIfNew(ctx, "b", in(errBoom))) },
			"P< process b 1, C< process b 1, PC> 1 ok, H< process b 1, handler in PH, PH> boom, P> none boom"},
		{"a retry", func(ctx context.Context) error { return second(b.guard.ProcessIfNew(ctx, "x", handled)) },
			"P< process x 1, C< process x 1, PC> 1 ok, H< process x 1, PH> other, C< process x 1, PC> 1 ok, H< process x 1, PH> ok, T< process x 1, PT> ok, P> processed ok"},
		{"ExecIfNew", func(ctx context.Context) error { return second(b.guard.ExecIfNew(ctx, "c", queued("c"))) },
			"P< exec c 1, P> processed ok"},
		{"MarkProcessed", func(ctx context.Context) error { return second(b.guard.MarkProcessed(ctx, "d")) },
			"P< mark d 1, P> processed ok"},
		{"ClaimTx", func(ctx context.Context) error {
			return pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error { return second(b.guard.ClaimTx(ctx, tx, "e")) })
		}, "C< claim e 1, C> 1 ok"},
		{"ProcessBatch", func(ctx context.Context) error {
			return second(b.guard.ProcessBatch(ctx, batchOf("a", "bad", "f"), poison.handle))
		}, "B< batch  3, C< batch  3, BC> 2 ok, H< batch  2, BH> boom, C< batch  1, BC> 0 ok, C< batch  1, BC> 1 ok, H< batch  1, BH> boom, " +
			"C< batch  1, BC> 1 ok, H< batch  1, BH> ok, T< batch  1, BT> ok, B> AEP ok"},
		{"a record", func(ctx context.Context) error {
			return second(o.Process(ctx, idem.Event{ID: "g", Offset: 0}, in(nil)))
		}, "P< process g 1, C< process g 1, PC> 1 ok, H< process g 1, handler in PH, PH> ok, T< process g 1, PT> ok, P> processed ok"},
		{"a record by its checkpoint", func(ctx context.Context) error {
			return second(o.Process(ctx, idem.Event{ByCheckpoint: true, Offset: 1}, in(nil)))
		}, "P< process orders/3/1 1, C< process orders/3/1 1, PC> 1 ok, H< process orders/3/1 1, handler in PH, PH> ok, T< process orders/3/1 1, PT> ok, P> processed ok"},
		{"a batch of records", func(ctx context.Context) error {
			return second(o.ProcessBatch(ctx, []idem.Event{{ByCheckpoint: true, Offset: 2}, {ID: "h", Offset: 3}}, poison.handle))
		}, "B< batch  2, C< batch  2, BC> 2 ok, H< batch  2, BH> ok, T< batch  2, BT> ok, B> PP ok"},
		{"StoreDeadLetter", func(ctx context.Context) error {
			return second(o.StoreDeadLetter(ctx, idem.DeadLetter{Offset: 4, EventID: "i"}))
		}, "P< store dead letter i 1, C< store dead letter i 1, PC> 1 ok, T< store dead letter i 1, PT> ok, P> processed ok"},
		{"Replay", func(ctx context.Context) error {
			b.askForReplay(t) //nolint:contextcheck // The helper uses the test's.

			return second(o.Replay(ctx, b.next(t), in(nil))) //nolint:contextcheck // So does this one.
		}, "P< replay i 1, C< replay i 1, PC> 1 ok, H< replay i 1, handler in PH, PH> ok, T< replay i 1, PT> ok, P> processed ok"},
		{"CleanupOldEvents", func(ctx context.Context) error { return second(b.guard.CleanupOldEvents(ctx)) },
			"X< cleanup  0, X> true ok"},
		{"an invalid call", func(ctx context.Context) error { return second(b.guard.ProcessIfNew(ctx, "", in(nil))) }, ""},
		{"a fenced record", func(ctx context.Context) error {
			acquire(t, b.guard) //nolint:contextcheck // The helper uses the test's.

			return second(o.Process(ctx, idem.Event{ID: "j", Offset: 9}, in(nil)))
		}, "P< process j 1, C< process j 1, PC> 0 fenced, P> none fenced"},
	} {
		err := step.call(t.Context())
		if got := strings.Join(w.take(), ", "); got != step.want {
			t.Errorf("%s (%v):\n%s, want\n%s", step.name, err, got, step.want)
		}
	}
	if *runs != 2 {
		t.Errorf("%d runs", *runs)
	}
}

// The ends are called whichever way a handler leaves.
func TestHooksOfAHandlerThatDoesNotReturn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var w watcher
	b.guard = newGuard(t, b.pool, idem.Config{Consumer: "orders", Hooks: w.hooks()})
	results, crashed, err := protect(func() ([]idem.BatchResult, error) {
		return b.guard.ProcessBatch(t.Context(), batchOf("a"), func(context.Context, pgx.Tx, []idem.Event) error { panic(errBoom) })
	})
	if !crashed {
		t.Errorf("%v, %v", results, err)
	}
	_, crashed, err = protect(func() ([]idem.BatchResult, error) {
		return nil, second(b.guard.ProcessIfNew(t.Context(), "a", func(context.Context, pgx.Tx) error { panic(errBoom) }))
	})
	if !crashed {
		t.Error(err)
	}
	wanted := []string{
		"B< batch  1", "C< batch  1", "BC> 1 ok", "H< batch  1", "BH> other", "B> - other",
		"P< process a 1", "C< process a 1", "PC> 1 ok", "H< process a 1", "PH> other", "P> none other",
	}
	if got := w.take(); !slices.Equal(got, wanted) {
		t.Errorf("got\n%s, want\n%s", got, wanted)
	}
}

// tracer notes by which hooks the contexts of statements have come.
type tracer struct{ seen *watcher }

func (r tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	r.seen.add(depth(ctx))

	return ctx
}

func (tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (r tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	r.seen.add(depth(ctx))

	return ctx
}

func (tracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (tracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// pgx's spans of the statements come to lie within those of the guard.
func TestHooksEncloseStatements(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var w, statements watcher
	pool := b.db.Pool(t, func(config *pgxpool.Config) { config.ConnConfig.Tracer = tracer{&statements} })
	guard := newGuard(t, pool, idem.Config{Consumer: "orders", Hooks: w.hooks()})
	if err := guard.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	statements.take()
	outcome, err := guard.ProcessIfNew(t.Context(), "a", effect("a"))
	want(t, "a", outcome, err, idem.Processed)
	if got := strings.Join(statements.take(), " "); got != "PC PH PT" { // BEGIN and claim, the handler's, COMMIT
		t.Errorf("got %q", got)
	}
}

// A hook without Begin, or whose Begin returns nil, leaves the context as it is.
func TestHooksLeaveTheContext(t *testing.T) {
	t.Parallel()
	b := setup(t)
	type key struct{}
	called := 0
	guard := newGuard(t, b.pool, idem.Config{Consumer: "orders", Hooks: idem.Hooks{
		Process: idem.Hook[idem.Op, idem.ProcessEnd]{Begin: func(context.Context, idem.Op) context.Context { return nil }},
		Handler: idem.Hook[idem.Op, idem.HandlerEnd]{End: func(context.Context, idem.Op, idem.HandlerEnd) { called++ }},
	}})
	ctx := context.WithValue(t.Context(), key{}, "mine")
	outcome, err := guard.ProcessIfNew(ctx, "a", func(ctx context.Context, _ pgx.Tx) error {
		if ctx.Value(key{}) != "mine" {
			t.Error("the context is lost")
		}

		return nil
	})
	want(t, "a", outcome, err, idem.Processed)
	if called != 1 {
		t.Errorf("End was called %d times", called)
	}
}

// A hook of a Cleaner watches its passes.
func TestCleanerHook(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var w watcher
	cleaner, err := idem.NewCleaner(b.pool, idem.CleanerConfig{Hook: w.hooks().Cleanup})
	if err == nil {
		_, err = cleaner.Clean(t.Context())
	}
	if got := strings.Join(w.take(), ", "); got != "X< cleanup  0, X> true ok" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
}

// Every enumeration has a text for each of its values.
func TestEnumerationsHaveTexts(t *testing.T) {
	t.Parallel()
	for kind, text := range map[fmt.Stringer]string{
		idem.OpKind(0): "none", idem.OpProcess: "process", idem.OpBatch: "batch", idem.OpExec: "exec", idem.OpMark: "mark", idem.OpClaim: "claim",
		idem.OpStoreDeadLetter: "store dead letter", idem.OpReplay: "replay", idem.OpResolve: "resolve", idem.OpCleanup: "cleanup",
		idem.Outcome(0): "none", idem.Processed: "processed", idem.AlreadyProcessed: "already processed",
		idem.DeadLetterOpen: "open", idem.DeadLetterParked: "parked", idem.DeadLetterReplay: "replay", idem.DeadLetterReplayed: "replayed",
		idem.DeadLetterDiscarded: "discarded", idem.DeadLetterSuperseded: "superseded", idem.DeadLetterExpired: "expired",
	} {
		if kind.String() != text {
			t.Errorf("%#v is %q, want %q", kind, kind, text)
		}
	}
}
