package idem

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// Fingerprint tells payloads apart. It is stored with the claim of an event, so that an event with the
// same id and another payload is noticed: the id is not unique, or a producer made a mistake. Zero means
// none.
type Fingerprint int64

// FingerprintOf returns the fingerprint of a payload: the first 63 bits of SHA-256, and 1 where they are all zero. Two payloads have the
// same fingerprint by chance in one of 10^19 cases.
func FingerprintOf(payload []byte) Fingerprint {
	hash := sha256.Sum256(payload)

	return max(1, Fingerprint(binary.BigEndian.Uint64(hash[:8])>>1))
}

// CollisionError is returned when an event came before with another payload (WithFingerprint,
// Event.Fingerprint, or those of package lease). Nothing of this call took effect. Either the payload does not matter, and the
// event is a duplicate. Or two events have one id, and this one was not processed.
type CollisionError struct {
	EventID     string
	Fingerprint Fingerprint // of this call's payload
	Processed   Fingerprint // of the payload that came before
	ProcessedAt time.Time   // when it was processed, or first seen if it is not processed yet
}

func (e *CollisionError) Error() string {
	return fmt.Sprintf("idem: event %q came before with another payload (at %s, fingerprint %016x, now %016x): its id is not unique, or the producer has changed it",
		e.EventID, e.ProcessedAt.UTC().Format(time.RFC3339), uint64(e.Processed), uint64(e.Fingerprint)) //nolint:gosec // They are not negative.
}
