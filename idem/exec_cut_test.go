package idem_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/await"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// queued is handler for ExecIfNew.
func (c *cutCommits) queued(eventID string) queue {
	return func(b *pgx.Batch) error {
		c.runs.Add(1)

		return queued(eventID)(b)
	}
}

func TestExecIfNewWithoutAnswer(t *testing.T) {
	t.Parallel()
	const rounds = 30 // in each mode
	for mode, expect := range cutModes {
		for _, execMode := range modes {
			t.Run(expect.name+"/"+execMode.String(), func(t *testing.T) {
				t.Parallel()
				c := setupCut(t, idem.RetryPolicy{}, pgtest.ExecMode(execMode.QueryExecMode))
				for round := range rounds {
					id := fmt.Sprint("event-", round)
					c.runs.Store(0)
					cut := c.proxy.CutNextCommit(mode)
					outcome, err := c.through.ExecIfNew(t.Context(), id, c.queued(id))
					want(t, id, outcome, err, idem.Processed)
					<-cut
					if n := c.runs.Load(); n < expect.least || n > expect.most {
						t.Fatalf("%s: %d attempts, want %d to %d", id, n, expect.least, expect.most)
					}
					c.wantProcessed(t, id, true)
				}
			})
		}
	}
}

// The pipeline is on its way as a whole: the connection may be lost at any of its statements, and at
// any time.
func TestExecIfNewConnectionLostAnywhere(t *testing.T) {
	t.Parallel()
	c := setupCut(t, idem.RetryPolicy{MaxAttempts: 20})
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		id := fmt.Sprint("event-", round)
		if round%2 == 0 {
			at := random.IntN(5) // BEGIN, claim, statement, savepoint, COMMIT
			c.proxy.CutNextStatement(pgtest.CutMode(1+random.IntN(3)), func(string) bool {
				at--

				return at < 0
			})
		} else {
			time.AfterFunc(time.Duration(random.IntN(int(time.Millisecond))), c.proxy.CutAll)
		}
		outcome, err := c.through.ExecIfNew(t.Context(), id, c.queued(id))
		want(t, id, outcome, err, idem.Processed)
		c.wantProcessed(t, id, true)
	}
	t.Logf("%d attempts", c.runs.Load())
}

// Where the database cannot be reached after the cut, the outcome stays unknown.
func TestExecIfNewOutcomeUnknown(t *testing.T) {
	t.Parallel()
	for mode, again := range map[pgtest.CutMode]idem.Outcome{
		pgtest.DropBeforeCommit: idem.Processed,
		pgtest.DropAfterCommit:  idem.AlreadyProcessed,
	} {
		t.Run(cutModes[mode].name, func(t *testing.T) {
			t.Parallel()
			c, arm := setupGone(t, 300*time.Millisecond, mode)
			outcome, err := c.through.ExecIfNew(t.Context(), "e", func(b *pgx.Batch) error {
				arm()

				return c.queued("e")(b)
			})
			if n := c.runs.Load(); outcome != 0 || !errors.Is(err, idem.ErrOutcomeUnknown) || !idem.IsTransient(err) || n != 1 {
				t.Fatalf("got %v, %v after %d attempts; want ErrOutcomeUnknown", outcome, err, n)
			}

			c.proxy.Resume()
			outcome, err = c.through.ExecIfNew(t.Context(), "e", c.queued("e"))
			want(t, "again", outcome, err, again)
			c.wantProcessed(t, "e", true)
		})
	}
}

// The end of the context stops the statements, and the claim while it waits.
func TestExecIfNewContextThatEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, call := range map[string]func(ctx context.Context, end func()) (idem.Outcome, error){
		"before": func(ctx context.Context, end func()) (idem.Outcome, error) {
			end()

			return b.guard.ExecIfNew(ctx, "before", queued("before"))
		},
		"in queue": func(ctx context.Context, end func()) (idem.Outcome, error) {
			return b.guard.ExecIfNew(ctx, "in queue", func(batch *pgx.Batch) error {
				end()

				return queued("in queue")(batch)
			})
		},
		"in a statement": func(ctx context.Context, end func()) (idem.Outcome, error) {
			go func() { //nolint:contextcheck // The helper uses the test's.
				b.waitUntil(t, `EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')`)
				end()
			}()

			return b.guard.ExecIfNew(ctx, "in a statement", queued("in a statement", `SELECT pg_sleep(60)`))
		},
		"at the claim": func(ctx context.Context, end func()) (outcome idem.Outcome, err error) {
			_, _ = b.guard.ProcessIfNew(t.Context(), "at the claim", func(context.Context, pgx.Tx) error { //nolint:contextcheck // It is another's.
				go func() { //nolint:contextcheck // The helper uses the test's.
					b.waitForLock(t)
					end()
				}()
				outcome, err = b.guard.ExecIfNew(ctx, "at the claim", queued("at the claim"))

				return errBoom
			})

			return outcome, err
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		outcome, err := call(ctx, cancel)
		var handlerErr *idem.HandlerError
		if outcome != 0 || !errors.Is(err, context.Canceled) || errors.Is(err, idem.ErrOutcomeUnknown) || errors.As(err, &handlerErr) {
			t.Errorf("%s: %v, %v", name, outcome, err)
		}
		b.wantProcessed(t, name, false)
		await.Until(t, "the end of the connection", func() bool { return b.pool.Stat().AcquiredConns() == 0 })
		cancel()
	}
}

// lateConn holds back what is written to it and looks broken, until it is delivered.
type lateConn struct {
	net.Conn

	late *late
	held []byte // nil: nothing is
}

// late is what becomes of the connections of a pool.
type late struct {
	mu    sync.Mutex
	armed bool // the next that writes is to be late
	conn  *lateConn
}

func (c *lateConn) Write(p []byte) (int, error) {
	c.late.mu.Lock()
	defer c.late.mu.Unlock()
	if c.late.armed {
		c.late.armed, c.late.conn = false, c
		c.held = bytes.Clone(p)
	}
	if c.held != nil {
		return len(p), nil
	}

	return c.Conn.Write(p)
}

func (c *lateConn) isHeld() bool {
	c.late.mu.Lock()
	defer c.late.mu.Unlock()

	return c.held != nil
}

func (c *lateConn) Read(p []byte) (int, error) {
	if c.isHeld() {
		return 0, io.ErrUnexpectedEOF
	}

	return c.Conn.Read(p)
}

func (c *lateConn) Close() error {
	if c.isHeld() {
		return nil
	}

	return c.Conn.Close()
}

// deliver sends what was held back to the server.
func (l *late) deliver(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.conn.Conn.Write(l.conn.held); err != nil {
		t.Error(err)
	}
	t.Cleanup(func() { _ = l.conn.Conn.Close() })
}

// The server reads the pipeline only after the search for its outcome has found nothing.
func TestExecIfNewLatePipeline(t *testing.T) {
	t.Parallel()
	for name, second := range map[string][]string{"succeeds": nil, "fails": {`SELECT 1/0`}, "there is none": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			l := &late{}
			pool := b.db.Pool(t, func(config *pgxpool.Config) {
				dial := config.ConnConfig.DialFunc
				config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := dial(ctx, network, addr)

					return &lateConn{Conn: conn, late: l}, err
				}
			})
			retry := idem.RetryPolicy{InitialBackoff: time.Millisecond}
			if name == "there is none" {
				retry.MaxAttempts = 1
			}
			guard := newGuard(t, pool, idem.Config{Consumer: "orders", Retry: retry})
			outcome, err := guard.ExecIfNew(t.Context(), "first", queued("first"))
			want(t, "first", outcome, err, idem.Processed)

			attempts := 0
			outcome, err = guard.ExecIfNew(t.Context(), "e", func(batch *pgx.Batch) error {
				if attempts++; attempts == 1 {
					l.mu.Lock()
					l.armed = true
					l.mu.Unlock()

					return queued("e")(batch)
				}
				if name == "succeeds" {
					l.deliver(t)
					b.waitUntil(t, `EXISTS (SELECT FROM public.effects WHERE event_id = 'e')`)
				}

				return queued("e", second...)(batch)
			})
			if name == "succeeds" {
				want(t, "e", outcome, err, idem.Processed)
			} else {
				var handlerErr *idem.HandlerError
				if outcome != 0 || !errors.Is(err, idem.ErrOutcomeUnknown) || !idem.IsTransient(err) || errors.As(err, &handlerErr) {
					t.Errorf("got %v, %v; want ErrOutcomeUnknown", outcome, err)
				}
				b.wantProcessed(t, "e", false)
				l.deliver(t)
				b.waitUntil(t, `EXISTS (SELECT FROM public.effects WHERE event_id = 'e')`)
			}
			b.wantProcessed(t, "e", true)
			if n := map[string]int{"succeeds": 2, "fails": 2, "there is none": 1}[name]; attempts != n {
				t.Errorf("%d attempts, want %d", attempts, n)
			}
		})
	}
}

// A handler that fails, and an event that is known, cost no connection.
func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool := b.db.Pool(t, func(c *pgxpool.Config) { c.MaxConns = 1 })
	guard := newGuard(t, pool, idem.Config{Consumer: "orders"})
	for _, fails := range []error{nil, nil, errBoom} {
		_, err := guard.ProcessIfNew(t.Context(), fmt.Sprint(fails), func(context.Context, pgx.Tx) error { return fails })
		if !errors.Is(err, fails) {
			t.Errorf("got %v, want %v", err, fails)
		}
	}
	if n := pool.Stat().NewConnsCount(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
}
