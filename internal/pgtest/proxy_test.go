package pgtest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/internal/await"
)

const insertRow = "INSERT INTO public.landed VALUES ($1)"

// commits are the ways in which a COMMIT can be sent.
var commits = map[string]func(ctx context.Context, conn *pgx.Conn, n int) error{
	"transaction": func(ctx context.Context, conn *pgx.Conn, n int) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, insertRow, n)

			return err
		})
	},
	"batch": func(ctx context.Context, conn *pgx.Conn, n int) error {
		var batch pgx.Batch
		batch.Queue("begin")
		batch.Queue(insertRow, n)
		batch.Queue("commit")

		return conn.SendBatch(ctx, &batch).Close()
	},
	"prepared": func(ctx context.Context, conn *pgx.Conn, n int) error {
		if _, err := conn.Prepare(ctx, "finish", "COMMIT work;"); err != nil {
			return err
		}
		var batch pgx.Batch
		batch.Queue("begin")
		batch.Queue(insertRow, n)
		if err := conn.SendBatch(ctx, &batch).Close(); err != nil {
			return err
		}

		return conn.PgConn().ExecPrepared(ctx, "finish", nil, nil, nil).Read().Err
	},
}

// setupProxy returns a proxy, a pool that goes through it, and one that does not.
func setupProxy(t *testing.T, options ...PoolOption) (proxy *Proxy, through, direct *pgxpool.Pool) {
	t.Helper()
	db := NewDB(t)
	proxy = NewProxy(t, db)
	direct = db.Pool(t)
	mustExec(t, direct, "CREATE TABLE public.landed (n integer)")

	return proxy, db.Pool(t, append(options, Via(proxy.Addr()))...), direct
}

func landed(t *testing.T, direct *pgxpool.Pool, n int) bool {
	t.Helper()

	return count(t, direct, "SELECT count(*) FROM public.landed WHERE n = $1", n) > 0
}

// wait waits for a cut.
func wait(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the connection was not cut")
	}
}

func TestCutCommit(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		for how, insertAndCommit := range commits {
			t.Run(fmt.Sprintf("%v/%s", mode, how), func(t *testing.T) {
				t.Parallel()
				proxy, through, direct := setupProxy(t, ExecMode(mode))
				insert := func(n int) error {
					return through.AcquireFunc(t.Context(), func(conn *pgxpool.Conn) error {
						return insertAndCommit(t.Context(), conn.Conn(), n)
					})
				}

				if err := insert(0); err != nil {
					t.Fatalf("nothing was to be cut: %v", err)
				}
				for n := 1; n < 20; n += 4 {
					done := proxy.CutNextCommit(DropBeforeCommit)
					if err := insert(n); err == nil {
						t.Error("before: no error")
					}
					wait(t, done)
					if landed(t, direct, n) {
						t.Error("before: it landed")
					}

					done = proxy.CutNextCommit(DropAfterCommit)
					if err := insert(n + 1); err == nil {
						t.Error("after: no error")
					}
					wait(t, done)
					if !landed(t, direct, n+1) {
						t.Error("after: it did not land")
					}

					done = proxy.CutNextCommit(ForwardCommitThenCut)
					if err := insert(n + 2); err == nil {
						t.Error("race: no error")
					}
					wait(t, done)

					there := false
					done = proxy.CutAfterAnswer(IsCommit, func() { there = landed(t, direct, n+3) })
					if err := insert(n + 3); err != nil {
						t.Errorf("after the answer: %v", err)
					}
					wait(t, done)
					if !there {
						t.Error("after the answer: it had not landed")
					}
					through.Reset() // The pool has the connection still.
				}
				if err := insert(100); err != nil || !landed(t, direct, 100) {
					t.Errorf("a cut happened more than once: %v", err)
				}
			})
		}
	}
}

func TestCutStatementThatIsItsOwnTransaction(t *testing.T) {
	t.Parallel()
	proxy, through, direct := setupProxy(t)
	isInsert := func(sql string) bool { return sql == insertRow }
	for mode, want := range map[CutMode]bool{DropBeforeCommit: false, DropAfterCommit: true} {
		done := proxy.CutNextStatement(mode, isInsert)
		mustExec(t, through, "SELECT 1") // Not this one.
		if _, err := through.Exec(t.Context(), insertRow, mode); err == nil {
			t.Error("no error")
		}
		wait(t, done)
		if landed(t, direct, int(mode)) != want {
			t.Errorf("landed = %t, want %t", !want, want)
		}
	}
}

func TestCutAllRefuseResume(t *testing.T) {
	t.Parallel()
	proxy, through, _ := setupProxy(t)
	conn, err := through.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()

	proxy.CutAll()
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("the connection was not cut")
	}
	if err := through.Ping(t.Context()); err != nil {
		t.Errorf("CutAll keeps new connections out: %v", err)
	}

	proxy.Refuse()
	if err := through.Ping(t.Context()); err == nil {
		t.Error("a connection was let in")
	}

	proxy.Resume()
	if err := through.Ping(t.Context()); err != nil {
		t.Errorf("Resume did not let a connection in: %v", err)
	}
}

// A client that prefers encryption connects without.
func TestProxyRefusesEncryption(t *testing.T) {
	t.Parallel()
	db := NewDB(t)
	proxy := NewProxy(t, db)
	pool := db.Pool(t, Via(proxy.Addr()), func(cfg *pgxpool.Config) {
		cfg.ConnConfig.Fallbacks = []*pgconn.FallbackConfig{{Host: cfg.ConnConfig.Host, Port: cfg.ConnConfig.Port}}
		cfg.ConnConfig.TLSConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // There is no encryption.
	})
	if err := pool.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLargeMessagesPass(t *testing.T) {
	t.Parallel()
	_, through, _ := setupProxy(t)
	large := make([]byte, 5<<20)
	if n := count(t, through, "SELECT length($1::bytea)", large); n != len(large) {
		t.Errorf("%d bytes arrived, want %d", n, len(large))
	}
}

// A cancel request comes on a connection of its own, without messages. It is sent when a
// context ends, and makes the server end the query long before it would by itself.
func TestCancelRequestPasses(t *testing.T) {
	t.Parallel()
	db := NewDB(t)
	proxy := NewProxy(t, db)
	pool := db.Pool(t, Via(proxy.Addr()), func(cfg *pgxpool.Config) {
		cfg.ConnConfig.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
			return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: time.Minute}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := pool.Exec(ctx, "SELECT pg_catalog.pg_sleep(50)")
		ended <- err
	}()
	await.Until(t, "the query to run", func() bool {
		return count(t, pool, "SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database() AND wait_event OPERATOR(pg_catalog.=) 'PgSleep'") == 1
	})
	cancel()
	err := <-ended
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != "57014" {
		t.Errorf("error = %v, want query_canceled", err)
	}
}
