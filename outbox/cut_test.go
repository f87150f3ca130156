package outbox_test

import (
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/internal/await"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// wantInOrder checks that the numbers from 0 to n came, for the first time in their order, and returns how many came again.
func (b *bundle) wantInOrder(t *testing.T, n int) (again int) {
	t.Helper()
	again = b.log.len() - n // It waits for what the relay does to the log.
	inOrder := make([]string, n)
	for i := range inOrder {
		inOrder[i] = strconv.Itoa(i)
	}
	if got := b.once(t); !slices.Equal(got, inOrder) {
		t.Errorf("%d records came, want %d in their order: %q", len(got), n, got)
	}

	return again
}

// The connection of a relay is cut at any statement of its turns: before the server gets it, while it executes it, and before the relay
// gets the answer. Records whose DELETE or COMMIT is lost come again.
func TestRelayIsCut(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]pgtest.CutMode{"before": pgtest.DropBeforeCommit, "in": pgtest.ForwardCommitThenCut, "behind": pgtest.DropAfterCommit} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			proxy := pgtest.NewProxy(t, b.db)
			relay := &bundle{db: b.db, log: b.log, pool: b.db.Pool(t, pgtest.Via(proxy.Addr()))}
			var calls atomic.Int32
			var producing sync.Mutex
			b.log.before = func() {
				calls.Add(1)
				producing.Lock()
				defer producing.Unlock()
			}
			relay.start(t, nil)
			const statements = 12 // of two turns, beginning behind the producing in the first one
			for last := range statements {
				producing.Lock()
				called := calls.Load()
				b.published(t, numbered(4*last, 2, 1)...)
				await.Until(t, "a turn", func() bool { return calls.Load() > called })
				b.published(t, numbered(4*last+2, 2, 1)...)
				seen := 0
				cut := proxy.CutNextStatement(mode, func(string) bool {
					seen++

					return seen > last
				})
				producing.Unlock()
				select {
				case <-cut:
				case <-time.After(await.Patience):
					t.Fatal("nothing was cut")
				}
				b.awaitEmpty(t)
			}
			again := b.wantInOrder(t, 4*statements)
			t.Logf("%d records came again", again)
			if again == 0 {
				t.Error("no record came again: nothing was cut between Produce and COMMIT")
			}
		})
	}
}

// Publishers and relays share the sessions of a PgBouncer in transaction mode. Sessions end and PgBouncer is killed
// meanwhile. What a turn sets is set for no other transaction.
func TestThroughPgBouncer(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			bouncer, err := pgtest.StartPgBouncer(t, b.db)
			if err != nil && os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			if err != nil || mode == pgx.QueryExecModeCacheStatement && !bouncer.PreparedStatements {
				t.Skipf("PgBouncer is missing or prepares no statements: %v", err)
			}
			service := &bundle{db: b.db, log: b.log, pool: b.db.OwnerPool(t, pgtest.ExecMode(mode), pgtest.Via(bouncer.Addr))}
			for range 2 {
				service.start(t, nil)
			}
			const rounds = 60
			for i := range rounds {
				records := numbered(5*i, 5, 1)
				for j := range records {
					records[j].EventID = string(records[j].Value)
				}
				// A session that is terminated a little late is a publisher's by then. It publishes again, as a service does.
				await.Until(t, "a publication", func() bool {
					err := pgx.BeginFunc(t.Context(), service.pool, func(tx pgx.Tx) error {
						return outbox.Publish(t.Context(), tx, records...)
					})
					if err != nil {
						t.Log("publish again:", err)
					}

					return err == nil
				})
				switch i {
				case 10, 20:
					b.exec(t, endTurn)
				case 30, 40:
					bouncer.Kill()
					if err := bouncer.Recover(t.Context()); err != nil {
						t.Fatal(err)
					}
					service.pool.Reset()
				}
			}
			b.awaitEmpty(t)
			t.Logf("%d records came again", b.wantInOrder(t, 5*rounds))
			for range 20 { // of any session
				var settings string
				err := service.pool.QueryRow(t.Context(), `SELECT pg_catalog.concat_ws(',', pg_catalog.current_setting('enable_seqscan'),
					pg_catalog.current_setting('enable_sort'), pg_catalog.current_setting('jit'), pg_catalog.current_setting('idle_in_transaction_session_timeout'))`).Scan(&settings)
				if err != nil {
					t.Fatal(err)
				}
				if settings != "on,on,on,0" {
					t.Fatalf("a session is left with %s", settings)
				}
			}
		})
	}
}
