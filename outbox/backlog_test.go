package outbox_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/outbox"
)

func TestBacklog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	relay, err := outbox.NewRelay(b.pool, b.log, outbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := relay.Backlog(t.Context()); err != nil || got != (outbox.Backlog{}) {
		t.Errorf("an empty outbox has %+v, %v", got, err)
	}
	b.exec(t, `INSERT INTO idem.outbox (event_id, topic, state) VALUES ('e', 'orders', 'discard'), ('e', 'orders', 'retry')`)
	if got, err := relay.Backlog(t.Context()); err != nil || got.Waiting != 2 || got.Failed != 0 || got.Oldest == 0 {
		t.Errorf("of two that were decided about: %+v, %v", got, err)
	}
	b.exec(t, `DELETE FROM idem.outbox`)
	b.exec(t, `INSERT INTO idem.outbox (event_id, topic, state, created_at)
		SELECT 'e', 'orders', CASE n WHEN 1 THEN 'failed' WHEN 2 THEN 'parked' WHEN 3 THEN 'parked' WHEN 4 THEN 'retry' WHEN 5 THEN 'discard' END, now() - interval '1 hour' FROM generate_series(1, 10010) n`)
	got, err := relay.Backlog(t.Context())
	if err != nil || got.Waiting != outbox.MaxBacklog || got.Failed != 1 || got.Parked != 2 || got.Oldest < time.Hour || got.Oldest > 2*time.Hour {
		t.Errorf("%+v, %v", got, err)
	}
	empty, err := outbox.NewRelay(pgtest.NewEmptyDB(t).Pool(t), b.log, outbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := empty.Backlog(t.Context()); !errors.Is(err, idem.ErrNotMigrated) {
		t.Errorf("without tables: %v", err)
	}
}
