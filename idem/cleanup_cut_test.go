package idem_test

import (
	"testing"
	"time"

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
			cleaner, err := idem.NewCleaner(b.db.Pool(t, pgtest.Via(proxy.Addr())), idem.CleanerConfig{
				Retry: idem.RetryPolicy{InitialBackoff: 50 * time.Millisecond}, // The server has to notice first.
				Progress: func(idem.CleanupProgress) {
					if batches++; batches == 1 {
						proxy.CutNextCommit(mode)
					}
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			report, err := cleaner.Clean(t.Context())
			if err != nil || !report.Complete {
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
