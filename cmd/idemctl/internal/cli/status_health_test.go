package cli

import (
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/ops"
)

// The figures are near the truth. The rights of a service are enough to see them, once it may read which
// migrations there are.
func TestStatusHealth(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	b.exec(t, `INSERT INTO idem.processed_events (consumer_id, key, event_id, claim_id)
		SELECT c.id, gen_random_uuid(), CASE WHEN i % 2 = 0 THEN repeat('x', 32) END, gen_random_uuid() FROM idem.consumers c, generate_series(1, 20000) AS i`)
	b.exec(t, "SELECT pg_catalog.pg_stat_force_next_flush()") // Otherwise the rows may be counted once more after VACUUM has.
	b.exec(t, "VACUUM ANALYZE idem.processed_events")
	role := b.db.Name + "_reader"
	b.exec(t, "CREATE ROLE "+role)
	b.exec(t, b.ok(t, "migrate", "print", "--grants", role))
	b.exec(t, "GRANT SELECT ON idem.idem_migrations TO "+role)
	b.env["IDEM_DATABASE_URL"] = withRole(b.env["IDEM_DATABASE_URL"], role)
	text := b.ok(t, "status")
	contains(t, text, "per event", "without bloat", "dead rows", "about 0 (0%), last vacuum ")
	if strings.Contains(text, "To do") {
		t.Error(text)
	}
	s := decode[ops.Status](t, b.ok(t, "status", "--json"))
	// 76 bytes for half of the rows and 108 for the others (32 + 1 of the length, aligned), and 52 in the index.
	if s.PackedBytesPerEvent < 140 || s.PackedBytesPerEvent > 150 || s.BytesPerEvent < 120 || s.BytesPerEvent > 180 || s.LastVacuum == nil || s.LiveRows != 20000 {
		t.Errorf("%+v", s)
	}
	b.exec(t, "DROP OWNED BY "+role+"; DROP ROLE "+role)
}

func withRole(dsn, role string) string {
	if strings.Contains(dsn, "://") {
		return dsn + "&role=" + role
	}

	return dsn + " role=" + role
}
