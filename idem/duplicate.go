package idem

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/db"
)

// DuplicateKind says why an event that comes again was processed before, as far as that can be told. What
// tells it is the checkpoint, and the claim of the event, which is read only where a fingerprint has to be
// compared anyway (WithFingerprint, Event.Fingerprint).
type DuplicateKind uint8

// The kinds.
const (
	// DuplicateUnknown is a duplicate of which nothing more can be told, or none.
	DuplicateUnknown DuplicateKind = iota

	// DuplicateRedelivered is the very record that was processed: the checkpoint is beyond it, or its place
	// is that of the claim (Event.Metadata).
	DuplicateRedelivered

	// DuplicateProducedAgain is another record, or another call, with the same event id: the claim has
	// another place, or it was made since this Owner has the partition, which sees each record once; or the id
	// stands twice in a batch of an Owner.
	DuplicateProducedAgain

	// DuplicateCollision has the same event id and another fingerprint (CollisionError).
	DuplicateCollision

	// DuplicateFormerOwner is the very record, claimed by a transaction that began after this Owner had met a
	// duplicate: by somebody who took the partition for theirs still, or by this owner in a call that ended in
	// ErrOutcomeUnknown. Only an unfenced Owner meets it: Acquire fences the former owner.
	DuplicateFormerOwner

	duplicateKinds = iota
)

// String returns "unknown", "redelivered", "produced again", "collision" or "former owner".
func (k DuplicateKind) String() string {
	switch k {
	case DuplicateRedelivered:
		return "redelivered"
	case DuplicateProducedAgain:
		return "produced again"
	case DuplicateCollision:
		return "collision"
	case DuplicateFormerOwner:
		return "former owner"
	default:
		return "unknown"
	}
}

// DuplicateCounts are how many duplicates of each DuplicateKind there were, which is the index.
type DuplicateCounts [duplicateKinds]int

// WithDuplicate has the call write to kind what the event is if it is AlreadyProcessed or a *CollisionError,
// and else DuplicateUnknown.
func WithDuplicate(kind *DuplicateKind) RecordOption { //nolint:ireturn // Its type says which calls take it.
	return recordOption{func(o *options) error {
		*kind = DuplicateUnknown
		o.duplicate = kind

		return nil
	}}
}

// duplicate is an event that was processed before.
type duplicate struct {
	eventID     string
	key         uuid.UUID
	fingerprint Fingerprint
	offset      int64
}

// kinds tells what duplicates of a call are, with a *CollisionError if one of them, the first that is
// DuplicateCollision, was processed with another payload.
func (g *Guard) kinds(ctx context.Context, conn db.DBTX, c *call, duplicates []duplicate) ([]DuplicateKind, error) {
	kinds := make([]DuplicateKind, len(duplicates))
	var keys []string
	for _, d := range duplicates {
		if d.fingerprint != 0 {
			keys = append(keys, d.key.String())
		}
	}
	if keys == nil {
		return kinds, nil
	}
	rows, err := g.queries.EventDuplicates(ctx, conn, db.EventDuplicatesParams{ConsumerID: g.consumer, Keys: keys})
	if err != nil {
		return nil, fmt.Errorf("idem: look up the claims of duplicates: %w", explain(err))
	}
	claims := make(map[uuid.UUID]db.EventDuplicatesRow, len(rows))
	for _, row := range rows {
		claims[row.Key] = row
	}
	for i, d := range duplicates {
		claim, ok := claims[d.key]
		if !ok {
			continue
		}
		kinds[i] = c.kindOf(d, claim)
		if kinds[i] == DuplicateCollision && err == nil {
			err = &CollisionError{
				EventID: d.eventID, Fingerprint: d.fingerprint, Processed: Fingerprint(claim.Fingerprint), ProcessedAt: time.UnixMicro(claim.ProcessedMicros),
			}
		}
	}

	return kinds, err
}

// kindOf tells what a duplicate is by the claim of its event.
func (c *call) kindOf(d duplicate, claim db.EventDuplicatesRow) DuplicateKind {
	place := [3]string{c.partition.Topic, strconv.Itoa(int(c.partition.Number)), strconv.FormatInt(d.offset, 10)}
	switch {
	case d.fingerprint != 0 && claim.Fingerprint != 0 && Fingerprint(claim.Fingerprint) != d.fingerprint:
		return DuplicateCollision
	case c.partition.Topic == "": // The guard does not know which record it is.
		return DuplicateUnknown
	case claim.Topic == "" && c.advances && c.isLater(claim):
		return DuplicateProducedAgain
	case claim.Topic == "":
		return DuplicateUnknown
	case [3]string{claim.Topic, claim.Partition, claim.RecordOffset} != place:
		return DuplicateProducedAgain
	case !c.advances && c.isLater(claim):
		return DuplicateFormerOwner
	default:
		return DuplicateRedelivered
	}
}

// isLater reports whether a claim was made since the call's owner has the partition.
func (c *call) isLater(claim db.EventDuplicatesRow) bool {
	if c.acquired == nil {
		return false
	}
	c.acquired.CompareAndSwap(0, claim.NowMicros)

	return claim.ProcessedMicros >= c.acquired.Load()
}

// tell says what the event of a call that is no batch is.
func (c *call) tell(kind DuplicateKind) {
	if c.duplicate != nil {
		*c.duplicate = kind
	}
}

// duplicated finds out what the duplicate of a call that is no batch is. It returns a *CollisionError if it was
// processed with another payload.
func (g *Guard) duplicated(ctx context.Context, conn db.DBTX, c *call) error {
	if c.fingerprint == 0 {
		return nil
	}
	kinds, err := g.kinds(ctx, conn, c, []duplicate{{c.eventID, c.key, c.fingerprint, c.offset}})
	if kinds != nil {
		c.tell(kinds[0])
	}

	return err
}

// kindOfError is DuplicateCollision for a *CollisionError, but not for one that a handler got from another guard.
func kindOfError(err error) DuplicateKind {
	if !errors.As(err, new(*HandlerError)) && errors.As(err, new(*CollisionError)) {
		return DuplicateCollision
	}

	return DuplicateUnknown
}
