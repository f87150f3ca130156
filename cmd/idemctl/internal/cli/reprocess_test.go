package cli

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/ops"
)

// What the command asks for reaches the consumer, by place and by event id.
func TestReprocessAsksTheOwner(t *testing.T) {
	t.Parallel()
	b := setupDeadLetters(t)
	guard := b.guard(t, "payments")
	owner := guard.Unfenced(idem.Partition{Topic: "orders", Number: 3})
	for id, opts := range map[string][]idem.ClaimOption{"placed": {idem.WithMetadata(idem.Metadata{Topic: "orders", Partition: 3, Offset: 7})}, "bare": nil} {
		if _, err := guard.MarkProcessed(t.Context(), id, opts...); err != nil {
			t.Fatal(err)
		}
	}
	b.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, next_offset) SELECT id, 'orders', 3, 20 FROM idem.consumers WHERE name = 'payments'`)
	for _, c := range []struct {
		status int
		want   string
		args   []string
	}{
		{exitUsage, "which record?", nil},
		{exitUsage, "which record? the line lacks --partition", []string{"--topic", "orders", "--offset", "7"}},
		{exitUsage, "which record? the line lacks --topic, --partition", []string{"--offset", "7"}},
		{exitUsage, "not both", []string{"placed", "--topic", "orders"}},
		{exitUsage, "negative", []string{"--topic", "orders", "--partition", "3", "--offset", "-1"}},
		{exitNotFound, "not known to payments", []string{"unknown"}},
		{exitFailure, "not stored with it", []string{"bare"}},
		{exitFailure, "idemctl: the record is not processed yet: the checkpoint of orders/3 is at 20; it is processed when its turn comes", []string{"--topic", "orders", "--partition", "3", "--offset", "20", "-y"}},
		{exitUnconfirmed, "offset 7 of partition 3 of orders will be processed again by payments, if it still is that of event placed;", []string{"placed"}},
	} {
		b.run(t, append([]string{"reprocess", "-c", "payments"}, c.args...)...).want(t, c.status, c.want)
	}
	got := decode[ops.ReprocessResult](t, b.ok(t, "reprocess", "placed", "-c", "payments", "-y", "--json"))
	b.run(t, "reprocess", "placed", "-c", "payments", "-y").want(t, exitFailure, "has an unresolved dead letter: "+got.DeadLetter.String())
	contains(t, b.ok(t, "dlq", "show", got.DeadLetter.String()), "state     replay\n", "claim id  -")

	letter, err := owner.NextDeadLetter(t.Context())
	if err != nil || !letter.Requested || letter.Offset != 7 || letter.EventID != "placed" {
		t.Fatalf("%+v, %v", letter, err)
	}
	outcome, err := owner.Replay(t.Context(), letter, func(context.Context, pgx.Tx) error { return nil })
	if err != nil || outcome != idem.Processed {
		t.Errorf("%v, %v", outcome, err)
	}
	contains(t, b.ok(t, "dlq", "show", got.DeadLetter.String()), "state     replayed\n")
}
