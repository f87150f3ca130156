package idem_test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// A pass survives the loss of the connection during a COMMIT. Its report then may say less than
// was deleted, never more.
func TestCleanupWhoseCommitGetsNoAnswer(t *testing.T) {
	t.Parallel()
	for mode, expect := range cutModes {
		t.Run(expect.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.age(t, "c", time.Minute, 20000)
			proxy := pgtest.NewProxy(t, b.db)
			batches := 0
			cleaner, err := idem.NewCleaner(b.db.Pool(t, pgtest.Via(proxy.Addr()), pgtest.ExecMode(pgx.QueryExecModeExec)), idem.CleanerConfig{
				Retry: idem.RetryPolicy{InitialBackoff: 50 * time.Millisecond}, // The server has to notice first.
				Progress: func(idem.CleanupProgress) {
					if batches++; batches == 1 {
						proxy.CutNextStatement(mode, isCleanup)
					}
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			report, err := cleaner.Clean(t.Context())
			for err == nil && !report.Complete { // The server has yet to notice that the session is lost, which leads.
				before := report
				report, err = cleaner.Clean(t.Context())
				report.Deleted += before.Deleted
				report.Consumers["c"] += before.Consumers["c"]
			}
			if err != nil {
				t.Fatalf("%+v, %v", report, err)
			}
			if n := b.count(t); n != 0 {
				t.Errorf("%d rows are left", n)
			}
			// The second batch counts if it was rolled back and done again.
			if report.Deleted > 20000 || report.Deleted == 0 || mode == pgtest.DropBeforeCommit && report.Deleted != 20000 {
				t.Errorf("%d rows are reported deleted", report.Deleted)
			}
			if report.Deleted != report.Consumers["c"] {
				t.Errorf("%+v does not add up", report)
			}
		})
	}
}

func isCleanup(sql string) bool { return strings.Contains(sql, "DELETE FROM idem.processed_events") }

// A cleaner that freezes once its DELETE is on the way holds nobody up who gets one of the events again.
func TestFrozenCleanerHoldsNobody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	guard := b.age(t, "c", time.Minute, 100)
	thaw := make(chan struct{})
	ended := make(chan error, 1)
	cleaner, err := idem.NewCleaner(b.db.Pool(t, pgtest.ExecMode(pgx.QueryExecModeExec), func(config *pgxpool.Config) {
		config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)

			return &freezer{Conn: conn, thaw: thaw}, err
		}
	}), idem.CleanerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(thaw)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	go func() {
		_, err := cleaner.Clean(context.WithoutCancel(t.Context()))
		ended <- err
	}()
	b.waitUntil(t, `EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle%' AND query LIKE '%DELETE FROM idem.processed_events d%')`)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	outcome, err := guard.ProcessIfNew(ctx, "e1", effect("e1"))
	want(t, "an expired event that a frozen cleaner has deleted", outcome, err, idem.Processed)
	if n := b.count(t); n != 1 {
		t.Errorf("%d rows are left", n)
	}
}

// freezer is a connection whose client freezes when it has sent the DELETE of a cleanup.
type freezer struct {
	net.Conn

	thaw   <-chan struct{}
	frozen atomic.Bool
}

func (f *freezer) Write(p []byte) (int, error) {
	n, err := f.Conn.Write(p)
	if isCleanup(string(p)) {
		f.frozen.Store(true)
	}

	return n, err
}

func (f *freezer) Read(p []byte) (int, error) {
	if f.frozen.Load() {
		<-f.thaw
	}

	return f.Conn.Read(p)
}
