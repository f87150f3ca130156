package engine

import (
	"context"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// fingerprints reports whether claims keep a fingerprint of the record's value.
func (w *worker) fingerprints() bool {
	return w.config.Mode != consume.ByCheckpoint && w.config.OnCollision != consume.IgnoreCollision
}

// collided does with a record whose event id was processed with another value what
// Config.OnCollision says.
func (w *worker) collided(revoked, work context.Context, m consume.Message, took time.Duration, collision error) error {
	w.tell(work, m.Offset, consume.Event{Kind: consume.EventCollision, Err: collision})
	if w.config.OnCollision == consume.FailOnCollision {
		m.EventID = "" // It is another event's.

		return w.fail(revoked, work, m, collision)
	}
	if w.engine.collisions.Due(time.Minute) {
		w.log.WarnContext(work, "consume: a record counts as a duplicate although its value differs", "offset", m.Offset, "error", collision)
	}

	return w.settleOne(revoked, m, idem.AlreadyProcessed, took)
}
