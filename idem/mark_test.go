package idem_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// isMark reports whether SQL is the claim of one event, which MarkProcessed sends alone.
func isMark(sql string) bool { return strings.Contains(sql, "INSERT INTO idem.processed_events") }

// The answer to the claim is lost, which is a transaction of its own: whoever called learns what became of
// it all the same, in each mode.
func TestMarkProcessedWithoutAnswer(t *testing.T) {
	t.Parallel()
	for mode, expect := range cutModes {
		for _, execMode := range modes {
			t.Run(expect.name+"/"+execMode.String(), func(t *testing.T) {
				t.Parallel()
				c := setupCut(t, idem.RetryPolicy{}, pgtest.ExecMode(execMode.QueryExecMode))
				for round := range 20 {
					id := fmt.Sprint("event-", round)
					cut := c.proxy.CutNextStatement(mode, isMark)
					outcome, err := c.through.MarkProcessed(t.Context(), id)
					want(t, id, outcome, err, idem.Processed)
					<-cut
					outcome, err = c.through.MarkProcessed(t.Context(), id)
					want(t, id+" again", outcome, err, idem.AlreadyProcessed)
				}
			})
		}
	}
}

// Where the database cannot be reached after the cut, the outcome stays unknown.
func TestMarkProcessedOutcomeUnknown(t *testing.T) {
	t.Parallel()
	for mode, again := range map[pgtest.CutMode]idem.Outcome{
		pgtest.DropBeforeCommit: idem.Processed,
		pgtest.DropAfterCommit:  idem.AlreadyProcessed,
	} {
		t.Run(cutModes[mode].name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			proxy := pgtest.NewProxy(t, b.db)
			var gone atomic.Bool
			pool := b.db.Pool(t, pgtest.Via(proxy.Addr()), pgtest.MaxConns(1), func(config *pgxpool.Config) {
				config.BeforeConnect = func(context.Context, *pgx.ConnConfig) error {
					if gone.Load() {
						return errBoom
					}

					return nil
				}
			})
			guard := newGuard(t, pool, idem.Config{Consumer: "orders", Retry: idem.RetryPolicy{
				InitialBackoff: time.Millisecond, MaxAttempts: 2, ResolveTimeout: 200 * time.Millisecond,
			}})
			outcome, err := guard.MarkProcessed(t.Context(), "first")
			want(t, "first", outcome, err, idem.Processed)

			proxy.CutNextStatement(mode, func(sql string) bool {
				gone.Store(gone.Load() || isMark(sql))

				return isMark(sql)
			})
			if outcome, err = guard.MarkProcessed(t.Context(), "e"); outcome != 0 || !errors.Is(err, idem.ErrOutcomeUnknown) || !idem.IsTransient(err) {
				t.Fatalf("got %v, %v; want ErrOutcomeUnknown", outcome, err)
			}
			gone.Store(false)
			outcome, err = guard.MarkProcessed(t.Context(), "e")
			want(t, "again", outcome, err, again)
		})
	}
}

// atRetry calls a function when something is logged, as each retry is.
type atRetry struct {
	slog.Handler

	do func()
}

func (h atRetry) Enabled(context.Context, slog.Level) bool { return true }

func (h atRetry) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h atRetry) Handle(context.Context, slog.Record) error {
	h.do()

	return nil
}

// The server reads the claim only after the search for its outcome has found nothing.
func TestMarkProcessedLateClaim(t *testing.T) {
	t.Parallel()
	for name, attempts := range map[string]int{"tried again": 5, "not tried again": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			l := &late{}
			isMarked := func() bool {
				marked, err := b.guard.IsProcessed(t.Context(), "e")
				if err != nil {
					t.Error(err)
				}

				return marked || err != nil
			}
			arrive := func() {
				if isMarked() {
					t.Error("it is not late")
				}
				l.deliver(t)
				for !isMarked() { //nolint:revive // The server tells no other way.
				}
			}
			pool := b.db.Pool(t, func(config *pgxpool.Config) {
				dial := config.ConnConfig.DialFunc
				config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := dial(ctx, network, addr)

					return &lateConn{Conn: conn, late: l}, err
				}
			})
			guard := newGuard(t, pool, idem.Config{
				Consumer: "orders", Retry: idem.RetryPolicy{InitialBackoff: time.Millisecond, MaxAttempts: attempts},
				Logger: slog.New(atRetry{slog.DiscardHandler, arrive}),
			})
			outcome, err := guard.MarkProcessed(t.Context(), "first")
			want(t, "first", outcome, err, idem.Processed)
			l.mu.Lock()
			l.armed = true
			l.mu.Unlock()
			outcome, err = guard.MarkProcessed(t.Context(), "e")
			if attempts > 1 {
				want(t, "its own late claim", outcome, err, idem.Processed)

				return
			}
			if outcome != 0 || !errors.Is(err, idem.ErrOutcomeUnknown) || !idem.IsTransient(err) {
				t.Errorf("got %v, %v; want ErrOutcomeUnknown", outcome, err)
			}
			arrive()
		})
	}
}

// The end of the context stops the claim while it waits for another transaction, and nothing is marked.
func TestMarkProcessedContextThatEnds(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			guard := newGuard(t, b.db.Pool(t, pgtest.ExecMode(mode.QueryExecMode)), idem.Config{Consumer: "orders"})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := b.guard.ProcessIfNew(t.Context(), "e", func(context.Context, pgx.Tx) error {
				go func() { //nolint:contextcheck // The helper uses the test's.
					b.waitForLock(t)
					cancel()
				}()
				outcome, err := guard.MarkProcessed(ctx, "e")
				if outcome != 0 || !errors.Is(err, context.Canceled) || errors.Is(err, idem.ErrOutcomeUnknown) {
					t.Errorf("got %v, %v; want the context's error", outcome, err)
				}

				return errBoom
			})
			if !errors.Is(err, errBoom) {
				t.Fatal(err)
			}
			b.wantProcessed(t, "e", false)
			if outcome, err := guard.MarkProcessed(ctx, "e"); outcome != 0 || !errors.Is(err, context.Canceled) {
				t.Errorf("a context that has ended: %v, %v", outcome, err)
			}
			outcome, err := guard.MarkProcessed(t.Context(), "e")
			want(t, "after that", outcome, err, idem.Processed)
		})
	}
}

// Of those who mark an event at the same time one does, whatever the sessions' isolation level.
func TestMarkProcessedRace(t *testing.T) {
	t.Parallel()
	for _, level := range isolationLevels {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			guard := newGuard(t, b.db.Pool(t, func(config *pgxpool.Config) {
				config.ConnConfig.RuntimeParams["default_transaction_isolation"] = string(level)
			}), idem.Config{Consumer: "orders", Retry: idem.RetryPolicy{MaxAttempts: idem.Unlimited, InitialBackoff: time.Millisecond}})
			for round := range 100 {
				var (
					processed, already atomic.Int32
					group              sync.WaitGroup
				)
				for range 4 {
					group.Go(func() {
						switch outcome, err := guard.MarkProcessed(t.Context(), fmt.Sprint("event-", round)); {
						case err != nil:
							t.Error(err)
						case outcome == idem.Processed:
							processed.Add(1)
						default:
							already.Add(1)
						}
					})
				}
				group.Wait()
				if processed.Load() != 1 || already.Load() != 3 {
					t.Fatalf("round %d: %d have processed it, for %d it was", round, processed.Load(), already.Load())
				}
			}
		})
	}
}
