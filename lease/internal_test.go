package lease

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/await"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// A process never thinks that it has a lease for longer than the database does, however long the answers take. The
// server takes its time after it has noted until when the lease lasts.
func TestUntilIsNeverLaterThanTheDatabases(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDB(t)
	pool, owner := db.Pool(t), db.OwnerPool(t)
	for _, sql := range []string{
		`CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_catalog.pg_sleep(0.05); RETURN NULL; END $$`,
		`CREATE TRIGGER slow AFTER INSERT OR UPDATE ON idem.leases FOR EACH ROW EXECUTE FUNCTION public.slow()`,
	} {
		if _, err := owner.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		t.Fatal(err)
	}
	leases, err := New(guard, Config{Duration: 3 * time.Second, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h, _, err := leases.acquire(t.Context(), "e", 0)
	if err != nil {
		t.Fatal(err)
	}
	compare := func(when string) {
		t.Helper()
		var micros int64
		if err := pool.QueryRow(t.Context(), `SELECT (extract(epoch FROM until - clock_timestamp()) * 1000000)::bigint FROM idem.leases`).Scan(&micros); err != nil {
			t.Fatal(err)
		}
		if mine, left := time.Until(h.until), time.Duration(micros)*time.Microsecond; mine > left {
			t.Errorf("%s: it has %v left, the database %v", when, mine, left)
		}
	}
	ends := func() (until time.Time) {
		if err := pool.QueryRow(t.Context(), `SELECT until FROM idem.leases`).Scan(&until); err != nil {
			t.Fatal(err)
		}

		return until
	}
	compare("acquired")
	acquired := ends()
	beating, stop := context.WithCancel(t.Context())
	lost, stopped := make(chan error, 1), make(chan struct{})
	go func() {
		leases.beat(beating, h, func(cause error) { lost <- cause })
		close(stopped)
	}()
	await.Until(t, "a heartbeat", func() bool { return ends().After(acquired) })
	stop()
	<-stopped
	compare("extended")
	if _, err := pool.Exec(t.Context(), `DELETE FROM idem.leases`); err != nil {
		t.Fatal(err)
	}
	leases.beat(t.Context(), h, func(cause error) { lost <- cause })
	if err := <-lost; err == nil {
		t.Error("the lease is gone, and it did not notice")
	}
}
