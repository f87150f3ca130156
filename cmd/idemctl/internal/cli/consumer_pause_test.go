package cli

import (
	"testing"

	"github.com/nova-events/idempotent-consumer/ops"
)

func TestConsumerPause(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ok(t, "consumer", "register", "orders")
	contains(t, b.ok(t, "consumer", "pause", "orders"), "orders is paused since", "No Kafka group has used it yet, so that nothing stands still now")
	b.ok(t, "consumer", "resume", "orders")
	b.exec(t, `UPDATE idem.consumers SET bound_cluster = 'k', bound_group = 'g'`)
	contains(t, b.ok(t, "consumer", "pause", "orders", "--by", "alice", "--reason", "bank\x1b[2J is down"),
		"orders is paused since", "by alice (", `: "bank\x1b[2J is down"`, "within 2 s")
	contains(t, b.ok(t, "consumer", "pause", "orders"), "paused already", "by alice (")
	contains(t, b.ok(t, "consumer", "list"), "paused since")
	contains(t, b.ok(t, "status"), "To do", "orders is paused since", "consumer resume orders")
	if all := decode[[]ops.Consumer](t, b.ok(t, "consumer", "list", "--json")); all[0].Pause == nil || all[0].Pause.Reason != "bank\x1b[2J is down" {
		t.Errorf("%+v", all)
	}

	contains(t, b.ok(t, "consumer", "resume", "orders"), "orders goes on. It was paused since")
	contains(t, b.ok(t, "consumer", "resume", "orders"), "orders was not paused")
	if r := decode[ops.PauseResult](t, b.ok(t, "consumer", "pause", "orders", "--json")); !r.Changed || r.Consumer != "orders" || r.Pause == nil || *r.Group != "g" {
		t.Errorf("%+v", r)
	}
	if r := decode[ops.PauseResult](t, b.ok(t, "consumer", "resume", "orders", "--json")); !r.Changed || r.Pause == nil {
		t.Errorf("%+v", r)
	}
	b.run(t, "consumer", "pause").want(t, exitUsage, "NAME")
	b.run(t, "consumer", "pause", "order").want(t, exitNotFound, "order is not registered")
	b.run(t, "consumer", "resume", "order").want(t, exitNotFound, "order is not registered")
}
