package cli

import (
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/ops"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// refused publishes two records of a key, of which the first is failed and the second parked. It returns the id of the first.
func (b *bundle) refused(t *testing.T, key string) (id string) {
	t.Helper()
	pool := b.db.Pool(t)
	record := outbox.Record{Topic: "orders", Key: []byte(key), Value: []byte("large"), EventID: "event of " + key}
	if err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error { return outbox.Publish(t.Context(), tx, record, record) }); err != nil {
		t.Fatal(err)
	}
	var n int64
	err := pool.QueryRow(t.Context(), `WITH p AS (UPDATE idem.outbox SET state = 'parked' WHERE state IS NULL AND id > (SELECT min(id) FROM idem.outbox WHERE state IS NULL))
		UPDATE idem.outbox SET state = 'failed', error = E'too\x1blarge' WHERE id = (SELECT min(id) FROM idem.outbox WHERE state IS NULL) RETURNING id`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}

	return strconv.FormatInt(n, 10)
}

func TestOutbox(t *testing.T) {
	t.Parallel()
	b := setup(t)
	contains(t, b.ok(t, "outbox", "list"), "No record is chosen")
	a, z := b.refused(t, "a"), b.refused(t, "z")
	contains(t, b.ok(t, "outbox", "list", "-s", "failed"), a, z, "orders", "event of a", "failed", `too\x1blarge`)
	if l := decode[[]ops.OutboxRecord](t, b.ok(t, "outbox", "list", "--json", "--topic", "orders")); len(l) != 4 || *l[0].KeyText != "a" || l[0].Parked != 1 || l[1].Parked != 0 || l[1].State != ops.OutboxParked {
		t.Errorf("%+v", l)
	}
	r := b.run(t, "outbox", "list", "--limit", "1")
	r.want(t, 0, "There are more than these 1")
	contains(t, b.ok(t, "status"), "0 waiting, 2 failed, 2 parked", "Kafka refuses 2 records of the outbox")

	b.run(t, "outbox", "retry").want(t, exitUsage, "give ids, or --all")
	b.run(t, "outbox", "retry", "x").want(t, exitUsage, "x is no id")
	b.run(t, "outbox", "retry", a, "--topic", "orders").want(t, exitUsage, "--topic goes with --all")
	b.run(t, "outbox", "retry", "999").want(t, exitNotFound, "1 of these records are not failed")
	b.run(t, "outbox", "discard", z).want(t, exitUnconfirmed)
	contains(t, b.ok(t, "outbox", "discard", "--all", "--dry-run"), a, z)
	contains(t, b.ok(t, "outbox", "retry", a, a), "1 record will be sent again")
	if l := decode[ops.OutboxResult](t, b.ok(t, "outbox", "discard", "--all", "--yes", "--json")); len(l.Changed) != 1 || strconv.FormatInt(l.Changed[0], 10) != z {
		t.Errorf("%+v", l)
	}
	contains(t, b.ok(t, "outbox", "list"), "retry", "discard")
	contains(t, b.ok(t, "status"), "2 waiting", "0 failed, 2 parked")
}

func TestDoctorFindsOutbox(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.refused(t, "a")
	b.must(t, "outbox-failed", ops.SeverityWarning, "1 failed, 1 parked")
	if _, err := b.db.OwnerPool(t).Exec(t.Context(), `UPDATE idem.outbox SET state = NULL, created_at = now() - interval '1 hour'`); err != nil {
		t.Fatal(err)
	}
	b.must(t, "outbox-lag", ops.SeverityWarning, "2 records or more, the first for 1h")
	contains(t, b.ok(t, "status"), "2 waiting (the first was published", "Records of the outbox wait for 1h")
}
