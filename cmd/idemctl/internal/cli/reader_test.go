package cli

import (
	"context"
	"testing"

	"github.com/nova-events/idempotent-consumer/ops"
)

// The rights that docs/operations.md names for somebody who only looks are enough for that, and for nothing else.
func TestReaderSeesAllAndChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(t, "orders", 10)
	role := b.db.Name + "_reader"
	b.exec(t, "CREATE ROLE "+role+"; GRANT USAGE ON SCHEMA idem TO "+role+"; GRANT SELECT ON ALL TABLES IN SCHEMA idem TO "+role+"; GRANT SELECT ON ALL SEQUENCES IN SCHEMA idem TO "+role)
	t.Cleanup(func() { _, _ = b.conn.Exec(context.Background(), "DROP OWNED BY "+role+"; DROP ROLE "+role) })
	b.env["IDEM_DATABASE_URL"] = withRole(b.env["IDEM_DATABASE_URL"], role)
	letters := decode[[]ops.DeadLetter](t, b.ok(t, "deadletter", "list", "--json"))
	for _, args := range [][]string{
		{"status"}, {"status", "--exact"}, {"consumer", "list"}, {"checkpoint", "list"}, {"migrate", "status"},
		{"show", "e1", "-c", "orders"}, {"explain", "e1", "-c", "orders"}, {"deadletter", "show", letters[0].ID.String()},
	} {
		b.ok(t, args...)
	}
	b.seen(t, "sequence-behind", "no sequence is behind")
	b.must(t, "rights", ops.SeverityProblem, "INSERT on processed_events")
	for _, args := range [][]string{
		{"deadletter", "discard", letters[0].ID.String(), "-y"}, {"consumer", "pause", "orders"}, {"consumer", "delete", "orders", "-y", "--watch", "1ms"},
		{"checkpoint", "reset", "-c", "orders", "--topic", "orders", "--partition", "0", "--to", "0", "-y"}, {"mark", "e99", "-c", "orders"},
	} {
		b.run(t, args...).want(t, exitFailure, "permission denied")
	}
}
