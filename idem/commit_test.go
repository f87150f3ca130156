package idem_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// cutCommits is a bundle with a guard whose connections go through a proxy.
type cutCommits struct {
	*bundle

	proxy   *pgtest.Proxy
	through *idem.Guard
	runs    atomic.Int32 // of the handler
}

func setupCut(t *testing.T, retry idem.RetryPolicy, options ...pgtest.PoolOption) *cutCommits {
	t.Helper()
	c := &cutCommits{bundle: setup(t)}
	c.proxy = pgtest.NewProxy(t, c.db)
	retry.InitialBackoff = time.Millisecond
	c.through = newGuard(t, c.db.Pool(t, append(options, pgtest.Via(c.proxy.Addr()))...), idem.Config{Consumer: "orders", Retry: retry})
	if err := c.through.Register(t.Context()); err != nil {
		t.Fatal(err)
	}

	return c
}

func (c *cutCommits) handler(eventID string) idem.Handler {
	return func(ctx context.Context, tx pgx.Tx) error {
		c.runs.Add(1)

		return effect(eventID)(ctx, tx)
	}
}

// cutModes are the ways to lose the answer to a COMMIT, with the least and the greatest number
// of times that the handler then runs: twice if the COMMIT did not land.
var cutModes = map[pgtest.CutMode]struct {
	name        string
	least, most int32
}{
	pgtest.DropBeforeCommit:     {"DropBeforeCommit", 2, 2},
	pgtest.DropAfterCommit:      {"DropAfterCommit", 1, 1},
	pgtest.ForwardCommitThenCut: {"ForwardCommitThenCut", 1, 2},
}

func TestCommitWithoutAnswer(t *testing.T) {
	t.Parallel()
	const rounds = 70 // in each mode
	for mode, expect := range cutModes {
		t.Run(expect.name, func(t *testing.T) {
			t.Parallel()
			c := setupCut(t, idem.RetryPolicy{})
			landed := 0
			for round := range rounds {
				id := fmt.Sprint("event-", round)
				c.runs.Store(0)
				cut := c.proxy.CutNextCommit(mode)
				outcome, err := c.through.ProcessIfNew(t.Context(), id, c.handler(id))
				want(t, id, outcome, err, idem.Processed)
				<-cut
				if n := c.runs.Load(); n < expect.least || n > expect.most {
					t.Fatalf("%s: the handler ran %d times, want %d to %d", id, n, expect.least, expect.most)
				}
				if c.runs.Load() == 1 {
					landed++
				}
				c.wantProcessed(t, id, true)
			}
			t.Logf("%d cuts, %d COMMITs landed", rounds, landed)
		})
	}
}

// What a COMMIT did is looked up for as long as ResolveTimeout, also by a call that is to be tried once only.
func TestOutcomeIsLookedUpAgain(t *testing.T) {
	t.Parallel()
	cut, refused, attempts := make(chan struct{}), make(chan struct{}), atomic.Int32{}
	var c *cutCommits
	c = setupCut(t, idem.RetryPolicy{}, func(config *pgxpool.Config) {
		config.BeforeConnect = func(context.Context, *pgx.ConnConfig) error {
			select {
			case <-cut:
				<-refused
				if attempts.Add(1) == 3 {
					c.proxy.Resume()
				}
			default:
			}

			return nil
		}
	})
	done := c.proxy.CutNextCommit(pgtest.DropAfterCommit)
	go func() {
		<-done
		c.proxy.Refuse()
		close(refused)
	}()
	outcome, err := c.through.ProcessIfNew(t.Context(), "e", func(ctx context.Context, tx pgx.Tx) error {
		close(cut)

		return effect("e")(ctx, tx)
	}, idem.WithRetry(idem.RetryPolicy{MaxAttempts: 1, InitialBackoff: time.Millisecond}))
	want(t, "e", outcome, err, idem.Processed)
	if n := attempts.Load(); n < 3 {
		t.Errorf("it connected %d times", n)
	}
}

// Another worker waits for the event while the COMMIT of the first one is cut: one of the two
// processes it, whichever way that ends.
func TestCommitWithoutAnswerWhileAnotherWaits(t *testing.T) {
	t.Parallel()
	for mode, expect := range cutModes {
		t.Run(expect.name, func(t *testing.T) {
			t.Parallel()
			c := setupCut(t, idem.RetryPolicy{})
			for round := range 15 {
				id := fmt.Sprint("event-", round)
				c.runs.Store(0)
				type result struct {
					outcome idem.Outcome
					err     error
				}
				second := make(chan result, 1)
				cut := c.proxy.CutNextCommit(mode)
				outcome, err := c.through.ProcessIfNew(t.Context(), id, func(ctx context.Context, tx pgx.Tx) error {
					if c.runs.Load() == 0 {
						go func() {
							outcome, err := c.guard.ProcessIfNew(ctx, id, c.handler(id))
							second <- result{outcome, err}
						}()
						c.waitForLock(t) //nolint:contextcheck // The helper uses the test's.
					}

					return c.handler(id)(ctx, tx)
				})
				<-cut
				other := <-second
				if err := errors.Join(err, other.err); err != nil {
					t.Fatal(err)
				}
				if (outcome == idem.Processed) == (other.outcome == idem.Processed) || outcome == 0 || other.outcome == 0 {
					t.Fatalf("%s: %v and %v, want one to process it", id, outcome, other.outcome)
				}
				c.wantProcessed(t, id, true)
			}
		})
	}
}

// A COMMIT that is still under way when its connection is gone: who only reads sees no claim
// and takes it for lost. The search for the outcome has to wait for its end.
func TestSlowCommitWithoutAnswer(t *testing.T) {
	t.Parallel()
	c := setupCut(t, idem.RetryPolicy{})
	// pgx cancels what runs on a connection that it gives up. The trigger does not care.
	c.exec(t, `CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN LOOP BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; EXCEPTION WHEN query_canceled THEN END; END LOOP; END $$`)
	c.exec(t, `CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON public.effects
		DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.dawdle()`)
	for round := range 100 {
		id := fmt.Sprint("event-", round)
		c.runs.Store(0)
		holder, err := c.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := holder.Exec(t.Context(), `SELECT pg_advisory_lock(1)`); err != nil {
			t.Fatal(err)
		}
		c.proxy.CutNextCommit(pgtest.ForwardCommitThenCut)
		released := make(chan error, 1)
		go func() {
			// The search waits for the transaction, and that one for the lock, unless it was
			// cancelled before the trigger: then a second one does.
			const waiting = `SELECT count(DISTINCT wait_event) FROM pg_stat_activity
				WHERE datname = current_database() AND wait_event IN ('advisory', 'transactionid')`
			var err error
			for n := 0; err == nil && n < 2 && (n < 1 || c.runs.Load() < 2); {
				err = c.pool.QueryRow(t.Context(), waiting).Scan(&n)
			}
			_, unlockErr := holder.Exec(t.Context(), `SELECT pg_advisory_unlock(1)`)
			holder.Release()
			released <- errors.Join(err, unlockErr)
		}()
		outcome, err := c.through.ProcessIfNew(t.Context(), id, c.handler(id))
		want(t, id, outcome, errors.Join(err, <-released), idem.Processed)
		c.wantProcessed(t, id, true)
		if c.runs.Load() == 1 {
			return
		}
	}
	t.Error("no COMMIT outlived its connection")
}

func TestCommitWithoutAnswerAndWithoutRetries(t *testing.T) {
	t.Parallel()
	c := setupCut(t, idem.RetryPolicy{MaxAttempts: 1})
	for round := range 10 {
		id := fmt.Sprint("landed-", round)
		c.proxy.CutNextCommit(pgtest.DropAfterCommit)
		outcome, err := c.through.ProcessIfNew(t.Context(), id, c.handler(id))
		want(t, id, outcome, err, idem.Processed)
		c.wantProcessed(t, id, true)

		id = fmt.Sprint("lost-", round)
		c.proxy.CutNextCommit(pgtest.DropBeforeCommit)
		outcome, err = c.through.ProcessIfNew(t.Context(), id, c.handler(id))
		var handlerErr *idem.HandlerError
		if outcome != 0 || err == nil || errors.Is(err, idem.ErrOutcomeUnknown) || errors.As(err, &handlerErr) || !idem.IsTransient(err) {
			t.Fatalf("%s: %v, %v; want a transient error that knows the outcome", id, outcome, err)
		}
		c.wantProcessed(t, id, false)
	}
}

// setupGone is setupCut with a database that cannot be reached from the next COMMIT on, which is cut.
// Call arm in the transaction.
func setupGone(t *testing.T, resolveTimeout time.Duration, mode pgtest.CutMode) (c *cutCommits, arm func()) {
	t.Helper()
	// The search for the outcome needs a new connection, which waits for gone.
	var armed atomic.Bool
	gone := make(chan struct{})
	c = setupCut(t, idem.RetryPolicy{ResolveTimeout: resolveTimeout}, pgtest.MaxConns(1), func(config *pgxpool.Config) {
		config.BeforeConnect = func(context.Context, *pgx.ConnConfig) error {
			if armed.Load() {
				<-gone
			}

			return nil
		}
	})
	cut := c.proxy.CutNextCommit(mode)
	go func() {
		<-cut
		c.proxy.Refuse()
		close(gone)
	}()

	return c, func() { armed.Store(true) }
}

// Where the database cannot be reached after the cut, the outcome stays unknown; it must
// neither be guessed nor forgotten.
func TestOutcomeUnknown(t *testing.T) {
	t.Parallel()
	for mode, again := range map[pgtest.CutMode]idem.Outcome{
		pgtest.DropBeforeCommit: idem.Processed,
		pgtest.DropAfterCommit:  idem.AlreadyProcessed,
	} {
		t.Run(cutModes[mode].name, func(t *testing.T) {
			t.Parallel()
			const timeout = 300 * time.Millisecond
			c, arm := setupGone(t, timeout, mode)
			started := time.Now()
			outcome, err := c.through.ProcessIfNew(t.Context(), "e", func(ctx context.Context, tx pgx.Tx) error {
				arm()

				return c.handler("e")(ctx, tx)
			})
			took := time.Since(started)
			if outcome != 0 || !errors.Is(err, idem.ErrOutcomeUnknown) || !idem.IsTransient(err) {
				t.Fatalf("got %v, %v; want ErrOutcomeUnknown", outcome, err)
			}
			if took > timeout+5*time.Second { // Much for the machine, little against retries without end.
				t.Errorf("it took %v with a ResolveTimeout of %v", took, timeout)
			}
			if n := c.runs.Load(); n != 1 {
				t.Errorf("the handler ran %d times", n)
			}

			c.proxy.Resume()
			outcome, err = c.through.ProcessIfNew(t.Context(), "e", c.handler("e"))
			want(t, "again", outcome, err, again)
			c.wantProcessed(t, "e", true)
		})
	}
}

// From the COMMIT on, the end of the context changes nothing.
func TestContextThatEndsDuringCommit(t *testing.T) {
	t.Parallel()
	c := setupCut(t, idem.RetryPolicy{})
	for name, expect := range map[string]struct {
		mode pgtest.CutMode // zero: no cut
		want idem.Outcome
	}{
		"answered": {0, idem.Processed},
		"landed":   {pgtest.DropAfterCommit, idem.Processed},
		"lost":     {pgtest.DropBeforeCommit, 0},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		c.proxy.CutNextStatement(expect.mode, func(sql string) bool {
			if !pgtest.IsCommit(sql) {
				return false
			}
			cancel()

			return expect.mode != 0
		})
		outcome, err := c.through.ProcessIfNew(ctx, name, c.handler(name))
		if outcome != expect.want || (err == nil) != (expect.want == idem.Processed) {
			t.Errorf("%s: got %v, %v", name, outcome, err)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want the context's error", name, err)
		}
		if ctx.Err() == nil {
			t.Errorf("%s: the context did not end", name)
		}
		c.wantProcessed(t, name, expect.want == idem.Processed)
		cancel()
	}
}
