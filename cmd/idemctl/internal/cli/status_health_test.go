package cli

import (
	"strings"
	"testing"
	"time"
)

// What the figures say is told only where there is something to do.
func TestAdvice(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC)
	before := func(d time.Duration) *time.Time {
		at := now.Add(-d)

		return &at
	}
	of := func(retention, oldest time.Duration) []consumerStatus {
		return []consumerStatus{{Consumer: "orders", Expired: 3, Oldest: before(oldest), Retention: seconds(retention)}}
	}
	for name, c := range map[string]struct {
		health    tableHealth
		consumers []consumerStatus
		want      string
	}{
		"all is well":                {health: tableHealth{LiveRows: 1e6, DeadRows: 5e4}},
		"few rows":                   {health: tableHealth{LiveRows: 10, DeadRows: 9_000}},
		"vacuum is about to come":    {health: tableHealth{LiveRows: 1e6, DeadRows: 4e5, LastAutovacuum: before(time.Minute)}},
		"no vacuum":                  {health: tableHealth{LiveRows: 6e6, DeadRows: 4e6}, want: "40% of the rows are dead, and the table was never vacuumed (or statistics were reset):"},
		"none for long":              {health: tableHealth{LiveRows: 6e6, DeadRows: 4e6, LastAutovacuum: before(90 * day), LastVacuum: before(2 * day)}, want: "40% of the rows are dead, and the last vacuum was 2d ago:"},
		"vacuum is held up":          {health: tableHealth{LiveRows: 4e6, DeadRows: 6e6, LastAutovacuum: before(time.Minute)}, want: "60% of the rows are dead although a vacuum ended 1m ago:"},
		"the cleaner will come":      {consumers: of(7*day, 7*day+time.Hour)},
		"no cleaner":                 {consumers: of(7*day, 10*day), want: `3 events of orders should be forgotten, the oldest since 3d: run a Cleaner`},
		"room that is used again":    {health: tableHealth{UnusedBytes: 2 << 30, BytesPerEvent: 300, PackedBytesPerEvent: 128}},
		"room after a great cleanup": {health: tableHealth{UnusedBytes: 2 << 30, BytesPerEvent: 3000, PackedBytesPerEvent: 128}, want: "2.0 GiB are unused."},
	} {
		advice := statusReport{tableHealth: c.health, Consumers: c.consumers, readAt: now}.advise()
		if c.want == "" && len(advice) > 0 || c.want != "" && (len(advice) != 1 || !strings.HasPrefix(advice[0], c.want)) {
			t.Errorf("%s: %q, want %q", name, advice, c.want)
		}
	}
}

// The figures are near the truth. The rights of a service are enough to see them, once it may read which
// migrations there are.
func TestStatusHealth(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	b.exec(t, `INSERT INTO idem.processed_events (consumer_id, key, event_id, claim_id)
		SELECT c.id, gen_random_uuid(), CASE WHEN i % 2 = 0 THEN repeat('x', 32) END, gen_random_uuid() FROM idem.consumers c, generate_series(1, 20000) AS i`)
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
	s := decode[statusReport](t, b.ok(t, "status", "--json"))
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
