package cli

import (
	"errors"
	"testing"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/lease"
	"github.com/nova-events/idempotent-consumer/ops"
)

func TestDoctorFindsWhatWasBrokenOff(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	b.age(t, "orders", 10)
	b.exec(t, "UPDATE idem.consumers SET closed = 'renamed to sales'")
	b.exec(t, "INSERT INTO idem.consumers (id, name, retention, closed) VALUES (idem.consumer_id('sales'), 'sales', '7 days', 'renamed from orders')")
	f, other := b.must(t, "consumer-closed", ops.SeverityProblem, "consumer orders"), b.must(t, "consumer-closed", ops.SeverityProblem, "consumer sales")
	if f.Commands[0] != other.Commands[0] {
		t.Errorf("%v, %v", f.Commands, other.Commands)
	}
	b.heal(t, f)
	b.cured(t, f.ID, "")
	b.exec(t, "UPDATE idem.consumers SET closed = 'deleted'")
	b.heal(t, b.must(t, "consumer-closed", ops.SeverityProblem, "consumer sales"))
}

// A service without checkpoints that had nothing to do is not noticed when its consumer is deleted, and goes on.
func TestDoctorFindsEventsOfNobody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, name := range []string{"a", "orders", "z"} {
		b.register(t, name, "7d")
		b.ok(t, "mark", "before", "--consumer", name)
	}
	guard, err := idem.New(b.db.Pool(t), idem.Config{Consumer: "orders"})
	if err == nil {
		err = guard.Register(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	b.ok(t, "consumer", "delete", "orders", "--yes", "--watch", "1ms")
	b.cured(t, "consumer-unknown", "consumer id")
	if _, err := guard.MarkProcessed(t.Context(), "e"); err != nil {
		t.Fatal(err)
	}
	f := b.must(t, "consumer-unknown", ops.SeverityWarning, "1 event and 0 leases")
	b.register(t, "orders", "7d")
	b.cured(t, f.ID, "")
	if _, err := b.leases(t, lease.Config{}).Do(t.Context(), "e", noAnswer); !errors.As(err, new(*lease.UndecidedError)) {
		t.Fatal(err)
	}
	b.exec(t, "DELETE FROM idem.consumers WHERE name IN ('orders', 'payments')")
	b.heal(t, b.must(t, f.ID, ops.SeverityWarning, "0 events and 1 lease"))
	b.heal(t, b.must(t, f.ID, ops.SeverityWarning, f.Subject))
}

func TestDoctorFindsPausedConsumers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	b.ok(t, "consumer", "pause", "orders", "--by", "alice", "--reason", "deploy")
	b.heal(t, b.must(t, "consumer-paused", ops.SeverityWarning, ": deploy"))
}

func TestDoctorFindsConsumersThatNobodyRuns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "1000h")
	b.exec(t, "UPDATE idem.consumers SET created_at = now() - interval '30 days'")
	b.must(t, "consumer-quiet", ops.SeverityWarning, "it was registered, 30d ago")
	b.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, acquired_at, owner_token) SELECT id, 'orders', 0, now() - interval '20 days', gen_random_uuid() FROM idem.consumers`)
	b.must(t, "consumer-quiet", ops.SeverityUnknown, "it keeps checkpoints only")
	b.age(t, "orders", 300)
	b.exec(t, "DELETE FROM idem.processed_events WHERE processed_at > now() - interval '10 days'")
	f := b.must(t, "consumer-quiet", ops.SeverityWarning, "it claimed an event, 10d ago")
	b.age(t, "orders", 1)
	b.cured(t, f.ID, "") // Its service runs again.
	b.exec(t, "DELETE FROM idem.processed_events WHERE processed_at > now() - interval '10 days'")
	b.heal(t, f)
}

func TestDoctorFindsEventsThatNobodyForgets(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "24h")
	b.age(t, "orders", 100)
	b.heal(t, b.must(t, "expired-events", ops.SeverityWarning, "77 events should be forgotten"))
}

func TestDoctorFindsDeadLettersWhoseEventsAreForgotten(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	b.exec(t, `INSERT INTO idem.dead_letters (consumer_id, id, topic, topic_id, record_partition, record_offset, key, attempts, error, failed_at)
		SELECT id, gen_random_uuid(), 'orders', gen_random_uuid(), 0, 7, gen_random_uuid(), 10, 'refused', now() - interval '8 days' FROM idem.consumers`)
	f := b.must(t, "dead-letter-forgotten", ops.SeverityWarning, "1 dead letter unresolved, the oldest for 8d; event ids are remembered for 7d")
	b.take(t, f)
	b.ok(t, "deadletter", "discard", "--consumer", "orders", "--all", "--yes")
	b.cured(t, f.ID, "")
}

func TestDoctorFindsUndecidedLeases(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := b.leases(t, lease.Config{}).Do(t.Context(), "e", noAnswer); !errors.As(err, new(*lease.UndecidedError)) {
		t.Fatal(err)
	}
	f := b.must(t, "leases-undecided", ops.SeverityWarning, "1 event may have taken effect or not")
	b.take(t, f)
	b.ok(t, "lease", "decide", "e", "--consumer", "payments", "--rerun", "--yes")
	b.cured(t, f.ID, "")
}

func TestDoctorLooksAtCheckpoints(t *testing.T) {
	t.Parallel()
	b := setup(t)
	guard, err := idem.New(b.db.Pool(t), idem.Config{Consumer: "orders"})
	if err == nil {
		err = guard.Register(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	partition := idem.Partition{Topic: "orders", Number: 3}
	acquire := func() {
		if _, err := guard.Acquire(t.Context(), partition, idem.AcquireOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	b.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, epoch, acquired_at) SELECT id, 'orders', 3, 0, now() - interval '1 hour' FROM idem.consumers`)
	f := b.must(t, "partition-unowned", ops.SeverityWarning, "consumer orders, orders/3: nobody has ever acquired it; its beginning was noted 1h ago")
	acquire()
	b.cured(t, f.ID, "")

	b.exec(t, `UPDATE idem.checkpoints SET next_offset = 7, started_offset = 7, starts = 3`)
	kills := b.must(t, "record-kills", ops.SeverityWarning, "3 owners in a row began with the record at offset 7")
	b.heal(t, kills)
	b.must(t, "partition-unowned", ops.SeverityWarning, "since its checkpoint was reset")
	acquire()
	b.cured(t, "partition-unowned", "")
	if n, skipped := b.one(t, "SELECT next_offset FROM idem.checkpoints"), b.one(t, "SELECT count(*) FROM idem.dead_letters WHERE record_offset = 7"); n != 8 || skipped != 1 {
		t.Errorf("the checkpoint is at %d, %d skipped records", n, skipped)
	}
	b.exec(t, `UPDATE idem.checkpoints SET started_offset = 9, starts = 3`) // The records from 8 on are known, or not there.
	b.heal(t, b.must(t, "record-kills", ops.SeverityWarning, "3 owners in a row began with the record at offset 9"))
	if n := b.one(t, "SELECT next_offset FROM idem.checkpoints"); n != 10 {
		t.Errorf("the checkpoint is at %d", n)
	}
}
