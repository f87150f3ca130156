package ops_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/ops"
)

// Programs tell errors by their kinds, people by the next step that their texts name.
func TestErrorsTellTheirKindsAndTheNextStep(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.client = b.ownerClient(t)
	b.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, next_offset) SELECT id, 'orders', 3, 20 FROM idem.consumers`)
	b.exec(t, `INSERT INTO idem.consumers (id, name, retention, closed) VALUES (idem.consumer_id('going'), 'going', '1 day', 'renamed to gone'), (idem.consumer_id('old'), 'old', '1 day', NULL)`)
	if _, err := b.guard.MarkProcessed(t.Context(), "bare"); err != nil {
		t.Fatal(err)
	}
	seven := int32(7)
	for what, c := range map[string]struct {
		call func(ctx context.Context, c *ops.Client) error
		want error
		text string
	}{
		"unknown consumer": {
			func(ctx context.Context, c *ops.Client) error {
				_, err := c.Consumer(ctx, "order")

				return err
			},
			ops.ErrUnknownConsumer, "Registered are: going, old, orders",
		},
		"other retention": {func(ctx context.Context, c *ops.Client) error {
			_, err := c.RegisterConsumer(ctx, "orders", time.Hour)

			return err
		}, ops.ErrConsumerExists, "idemctl consumer set-retention orders 1h"},
		"name in use": {func(ctx context.Context, c *ops.Client) error {
			_, err := c.RenameConsumer(ctx, "orders", "old", ops.ChangeOptions{Watch: 1})

			return err
		}, ops.ErrConsumerExists, "two cannot become one"},
		"name too long": {func(ctx context.Context, c *ops.Client) error {
			_, err := c.RenameConsumer(ctx, "orders", strings.Repeat("x", 256), ops.ChangeOptions{Watch: 1})

			return err
		}, ops.ErrInvalid, "255 are allowed"},
		"other change under way": {func(ctx context.Context, c *ops.Client) error {
			_, err := c.PlanDelete(ctx, "going")

			return err
		}, idem.ErrConsumerClosed, "renamed to gone; run that command again"},
		"request to a closed consumer": {func(ctx context.Context, c *ops.Client) error {
			_, err := c.Reprocess(ctx, ops.RecordPlace{Consumer: "going", Topic: "orders"})

			return err
		}, idem.ErrConsumerClosed, "renamed to gone"},
		"unknown partition": {func(ctx context.Context, c *ops.Client) error {
			_, err := c.PlanReset(ctx, ops.CheckpointTarget{Consumer: "orders", Topic: "orders", Partition: &seven})

			return err
		}, ops.ErrNoCheckpoint, "it has one for: 3"},
		"not processed yet": {func(ctx context.Context, c *ops.Client) error {
			_, err := c.Reprocess(ctx, ops.RecordPlace{Consumer: "orders", Topic: "orders", Partition: 3, Offset: 20})

			return err
		}, ops.ErrNotProcessed, "the checkpoint of orders/3 is at 20"},
		"unknown event": {func(ctx context.Context, c *ops.Client) error {
			_, err := c.PlanReprocess(ctx, "orders", "never")

			return err
		}, ops.ErrUnknownEvent, "name the record by its topic, partition and offset"},
		"event without a place": {func(ctx context.Context, c *ops.Client) error {
			_, err := c.PlanReprocess(ctx, "orders", "bare")

			return err
		}, ops.ErrNoPlace, "Config.StoreMetadata"},
		"unknown dead letter": {func(ctx context.Context, c *ops.Client) error {
			_, err := c.DeadLetter(ctx, "0199c2a4")

			return err
		}, ops.ErrUnknownDeadLetter, "idemctl deadletter list --state all"},
		"unknown table": {func(ctx context.Context, c *ops.Client) error {
			_, err := c.ImportTable(ctx, "orders", "public.nothing", nil)

			return err
		}, ops.ErrImport, "name it as SCHEMA.TABLE"},
		"unknown version": {func(ctx context.Context, c *ops.Client) error {
			_, err := c.PlanMigration(ctx, 99)

			return err
		}, ops.ErrInvalid, "idemctl migrate status"},
		"bad event id": {func(ctx context.Context, c *ops.Client) error {
			_, err := c.MarkEvents(ctx, "orders", []string{"good", ""}, nil)

			return err
		}, ops.ErrInvalid, "it is empty"},
	} {
		err := c.call(t.Context(), b.client)
		if wantErr(t, what, err, c.want); err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: the text lacks %q: %v", what, c.text, err)
		}
	}
	if done, err := b.guard.IsProcessed(t.Context(), "good"); done || err != nil {
		t.Errorf("an event was marked although another id is not valid: %v, %v", done, err)
	}
}

func TestTablesThatAreNotThere(t *testing.T) {
	t.Parallel()
	db := pgtest.NewEmptyDB(t)
	wantErr(t, "no tables", newClient(t, db.Pool(t)).Check(t.Context()), idem.ErrNotMigrated)
	_, err := ops.New(db.Pool(t), ops.Config{Schema: "Big"})
	wantErr(t, "a schema's name", err, ops.ErrInvalid)
	_, err = ops.New(nil, ops.Config{})
	wantErr(t, "no pool", err, ops.ErrInvalid)
	_, err = newClient(t, db.Pool(t, pgtest.MaxConns(1))).ImportTable(t.Context(), "orders", "public.old", nil)
	wantErr(t, "a pool that would wait for itself", err, ops.ErrInvalid)
}

// What PostgreSQL has no text for is refused before it is asked.
func TestTextThatPostgreSQLLacks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.client = b.ownerClient(t)
	for _, text := range []string{"a\x00b", "\xff"} {
		err := b.client.SetRetention(t.Context(), ops.RetentionPlan{Consumer: text, Retention: ops.Seconds(time.Hour), Previous: 1})
		wantErr(t, "another retention", err, ops.ErrUnknownConsumer)
		_, err = b.client.Reprocess(t.Context(), ops.RecordPlace{Consumer: "orders", Topic: text})
		wantErr(t, "reprocess", err, ops.ErrInvalid)
		for cluster, group := range map[string]string{text: "a", "a": text} {
			_, err = b.client.PlanRebind(t.Context(), "orders", cluster, group)
			wantErr(t, "rebind", err, ops.ErrInvalid)
		}
		_, err = b.client.ImportTable(t.Context(), "orders", "public."+text, nil)
		wantErr(t, "import", err, ops.ErrInvalid)
	}
}
