package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/ops"
)

func TestConsumers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	contains(t, b.ok(t, "consumer", "list"), "No consumer is registered")
	if out := b.ok(t, "consumer", "list", "--json"); out != "[]\n" {
		t.Error(out)
	}
	contains(t, b.ok(t, "consumer", "register", "orders", "--retention", "1d12h"), "orders is registered with a retention of 1d12h.")
	contains(t, b.ok(t, "consumer", "register", "orders", "-r", "36h"), "orders is registered with a retention of 1d12h.")
	contains(t, b.ok(t, "consumer", "register", "mails"), "retention of 7d")
	b.run(t, "consumer", "register", "orders").want(t, exitFailure, "with a retention of 1d12h", "idemctl consumer set-retention orders 7d")
	b.run(t, "consumer", "register", strings.Repeat("x", 256)).want(t, exitUsage, "255")
	contains(t, b.ok(t, "consumer", "list"), "CONSUMER  RETENTION", "mails            7d", "orders        1d12h")
	list := decode[[]ops.Consumer](t, b.ok(t, "consumer", "list", "--json"))
	if len(list) != 2 || list[1].Name != "orders" || list[1].Retention != ops.Seconds(36*time.Hour) {
		t.Errorf("%+v", list)
	}
}

func TestLongerRetention(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "101h30m")
	b.age(t, "orders", 200)
	contains(t, b.ok(t, "consumer", "set-retention", "orders", "7d"), "The retention of orders is 7d; it was 4d5h30m.\n")
}

func TestShorterRetentionAsks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "100h30m")
	b.register(t, "mails", "7d")
	b.age(t, "orders", 150)
	b.age(t, "mails", 150)

	retention := `SELECT extract(epoch FROM retention)::bigint FROM idem.consumers WHERE name = 'orders'`
	r := b.run(t, "consumer", "set-retention", "orders", "1d30m")
	r.want(t, exitUnconfirmed, "1d30m instead of 4d4h30m, 76 events of orders expire", "--yes")
	if r.stdout != "" || b.one(t, retention) != 100*3600+1800 {
		t.Fatal("it was done without a confirmation", r.stdout)
	}
	got := decode[ops.RetentionPlan](t, b.ok(t, "consumer", "set-retention", "orders", "1d30m", "--yes", "--json"))
	if got != (ops.RetentionPlan{Consumer: "orders", Retention: ops.Seconds(24*time.Hour + 30*time.Minute), Previous: ops.Seconds(100*time.Hour + 30*time.Minute), NewlyExpired: 76}) || b.one(t, retention) != 24*3600+1800 {
		t.Errorf("%+v", got)
	}
	contains(t, b.ok(t, "consumer", "set-retention", "orders", "1d10m", "-y"), "is 1d10m; it was 1d30m")

	// Where nothing expires nothing is asked.
	b.ok(t, "consumer", "set-retention", "mails", "6d23h")
}
