package idem

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/db"
)

// Fingerprint tells payloads apart. The claim of an event keeps it, so that an event that comes with the
// same id and another payload is noticed: an id that is not unique, or a producer's mistake. Zero
// stands for none.
type Fingerprint int64

// FingerprintOf returns the fingerprint of a payload: the first 8 bytes of SHA-256. Two payloads have one
// fingerprint by chance in one of 10^19 cases.
func FingerprintOf(payload []byte) Fingerprint {
	hash := sha256.Sum256(payload)

	return max(1, Fingerprint(binary.BigEndian.Uint64(hash[:8])>>1))
}

// CollisionError is returned when an event was processed before with another payload
// (WithFingerprint, Event.Fingerprint). Nothing of this call took effect. Either the payload does
// not matter, and the event is a duplicate; or two events have one id, and this one was not processed.
type CollisionError struct {
	EventID     string
	Fingerprint Fingerprint // of this call's payload
	Processed   Fingerprint // of the payload that was processed
	ProcessedAt time.Time   // when that was
}

func (e *CollisionError) Error() string {
	return fmt.Sprintf("idem: event %q was processed before with another payload (at %s, fingerprint %016x, now %016x): its id is not unique, or the producer has changed it",
		e.EventID, e.ProcessedAt.UTC().Format(time.RFC3339), uint64(e.Processed), uint64(e.Fingerprint)) //nolint:gosec // They are not negative.
}

// printed is an event by its key and fingerprint.
type printed struct {
	eventID     string
	key         uuid.UUID
	fingerprint Fingerprint
}

// collision returns the place of the first of some duplicates that was processed with another payload,
// and a *CollisionError; or a negative place.
func (g *Guard) collision(ctx context.Context, conn db.DBTX, duplicates []printed) (int, error) {
	var keys []string
	for _, d := range duplicates {
		if d.fingerprint != 0 {
			keys = append(keys, d.key.String())
		}
	}
	if keys == nil {
		return -1, nil
	}
	rows, err := g.queries.EventFingerprints(ctx, conn, db.EventFingerprintsParams{ConsumerID: g.consumer, Keys: keys})
	if err != nil {
		return -1, fmt.Errorf("idem: look up fingerprints: %w", explain(err))
	}
	known := make(map[uuid.UUID]db.EventFingerprintsRow, len(rows))
	for _, row := range rows {
		known[row.Key] = row
	}
	for i, d := range duplicates {
		if row, ok := known[d.key]; ok && d.fingerprint != 0 && Fingerprint(row.Fingerprint) != d.fingerprint {
			return i, &CollisionError{
				EventID: d.eventID, Fingerprint: d.fingerprint, Processed: Fingerprint(row.Fingerprint), ProcessedAt: row.ProcessedAt,
			}
		}
	}

	return -1, nil
}

// collided is collision for a call that is no batch.
func (g *Guard) collided(ctx context.Context, conn db.DBTX, c call) error {
	_, err := g.collision(ctx, conn, []printed{{c.eventID, c.key, c.fingerprint}})

	return err
}
