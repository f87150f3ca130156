package idem_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
)

// The table refuses a row whose id is not the one that SQL makes of the name.
func TestConsumerIDIsTheSameInSQL(t *testing.T) {
	t.Parallel()
	b := setup(t)
	names := 0
	for _, name := range hostileIDs() {
		if len(name) > 255 || names == 500 {
			continue
		}
		names++
		if err := newGuard(t, b.pool, idem.Config{Consumer: name}).Register(t.Context()); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// One consumer must never come by the claims or checkpoints of another: not in a restored database
// either, to which a process comes back that registered itself in the lost one.
func TestRestoredDatabaseGivesNoConsumerTheIDOfAnother(t *testing.T) {
	t.Parallel()
	b := setup(t)
	billing := newGuard(t, b.pool, idem.Config{Consumer: "billing"})
	shipping := newGuard(t, b.pool, idem.Config{Consumer: "shipping"})
	audit := newGuard(t, b.pool, idem.Config{Consumer: "audit"})
	for _, guard := range []*idem.Guard{billing, shipping} {
		if err := guard.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.exec(t, `DELETE FROM idem.consumers WHERE name <> 'billing'`) // The backup was made before.

	outcome, err := shipping.ProcessIfNew(t.Context(), "order-2", effect("shipping"))
	want(t, "shipping", outcome, err, idem.Processed)
	outcome, err = audit.ProcessIfNew(t.Context(), "order-2", effect("audit"))
	want(t, "audit", outcome, err, idem.Processed)
	if n := b.effects(t, "audit"); n != 1 {
		t.Errorf("it took effect %d times for audit", n)
	}
	owner := acquire(t, shipping)
	if err := owner.Advance(t.Context(), 40); err != nil {
		t.Fatal(err)
	}
	if next := acquire(t, audit).Next(); next != 0 {
		t.Errorf("audit begins at the checkpoint of shipping: %d", next)
	}
	// Acquire has registered the consumer again, so that its events are not forgotten by cleanup.
	var n int
	if err := b.pool.QueryRow(t.Context(), `SELECT count(*) FROM idem.consumers`).Scan(&n); err != nil || n != 3 {
		t.Errorf("%d consumers are registered, %v", n, err)
	}
}

func TestConsumersWithOneIDAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `ALTER TABLE idem.consumers DROP CONSTRAINT consumers_id_of_name`)
	b.exec(t, `INSERT INTO idem.consumers (id, name, retention) VALUES (idem.consumer_id('orders'), 'another', interval '1 day')`)
	err := b.guard.Register(t.Context())
	if !errors.Is(err, idem.ErrInvalidConfig) || !strings.Contains(err.Error(), "another") {
		t.Errorf("Register: %v", err)
	}
	if _, err := b.guard.ProcessIfNew(t.Context(), "e", effect("e")); !errors.Is(err, idem.ErrInvalidConfig) {
		t.Errorf("ProcessIfNew: %v", err)
	}
	b.wantNothing(t)
}

func (b *bundle) wantNothing(t *testing.T) {
	t.Helper()
	var n int
	if err := b.pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM idem.processed_events) + (SELECT count(*) FROM public.effects)`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d rows are there, %v", n, err)
	}
}

// A second group with the same consumer name would take the first one's events.
func TestConsumerBelongsToOneGroupOfOneCluster(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var group sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		group.Go(func() { errs[i] = b.guard.Bind(t.Context(), "cluster", fmt.Sprint("group ", i%2)) })
	}
	group.Wait()
	bound := [2]int{}
	for i, err := range errs {
		var elsewhere *idem.BindingError
		switch {
		case err == nil:
			bound[i%2]++
		case !errors.As(err, &elsewhere) || elsewhere.BoundCluster != "cluster" || elsewhere.BoundGroup == elsewhere.Group || idem.IsTransient(err):
			t.Errorf("refused with %v", err)
		}
	}
	if bound != [2]int{10, 0} && bound != [2]int{0, 10} {
		t.Errorf("so many calls of each group succeeded: %v", bound)
	}
	winner := "group 0"
	if bound[1] > 0 {
		winner = "group 1"
	}
	var elsewhere *idem.BindingError
	if err := b.guard.Bind(t.Context(), "another cluster", winner); !errors.As(err, &elsewhere) {
		t.Errorf("another cluster: %v", err)
	}
	if err := newGuard(t, b.pool, idem.Config{Consumer: "other"}).Bind(t.Context(), "cluster", "group 1"); err != nil {
		t.Errorf("another consumer of the same group: %v", err)
	}
}

func TestRegisteredRetentionIsKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := b.guard.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	var conflict *idem.RetentionConflictError
	if err := newGuard(t, b.pool, idem.Config{Consumer: "orders", Retention: time.Hour}).Register(t.Context()); !errors.As(err, &conflict) {
		t.Errorf("another retention: %v", err)
	}
}

// An operator changes the retention while a service runs that configures the former one: the service goes on, also where it acquires
// other partitions, and is refused when it next starts.
func TestRetentionIsChangedWhileTheServiceRuns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	config := idem.Config{Consumer: "orders", Retention: 24 * time.Hour}
	guard, lazy := newGuard(t, b.pool, config), newGuard(t, b.pool, config)
	_ = acquire(t, guard)
	tx, err := b.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lazy.ClaimTx(t.Context(), tx, "e"); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.exec(t, `UPDATE idem.consumers SET retention = '2 days'`)
	for name, running := range map[string]*idem.Guard{"acquired": guard, "claimed in the caller's transaction": lazy} {
		for range 2 {
			if _, err := running.Acquire(t.Context(), partition, idem.AcquireOptions{}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	var conflict *idem.RetentionConflictError
	if _, err := newGuard(t, b.pool, config).Acquire(t.Context(), partition, idem.AcquireOptions{}); !errors.As(err, &conflict) {
		t.Errorf("when it next starts: %v", err)
	}
}
