package idem

import "fmt"

// Event is an event that is to take effect once: one of a batch, or a record of a partition.
type Event struct {
	// ID is the event id. An empty one is an error, except with ByCheckpoint.
	ID string

	// ByCheckpoint says that the record has no event id: only its Offset and the owner's checkpoint tell
	// whether it is processed, and nothing is stored for it. That is the cheapest way and forgets nothing,
	// but a record that is produced twice is processed twice. ID, Metadata and Fingerprint are ignored. If
	// there is no checkpoint (Guard.ProcessBatch, Guard.Unfenced), the error is ErrInvalidEventID.
	ByCheckpoint bool

	// Offset is the record's offset in the partition of an Owner. Guard.ProcessBatch ignores it.
	Offset int64

	// Metadata is stored with the claim, unless it is nil.
	Metadata *Metadata

	// Fingerprint is stored with the claim. If the event was processed before with another
	// fingerprint, the error is a *CollisionError.
	Fingerprint Fingerprint

	// Data belongs to the caller and is passed to the BatchHandler.
	Data any
}

// name is what errors call the event of a partition.
func (e *Event) name(p Partition) string {
	if e.ByCheckpoint {
		return p.place(e.Offset)
	}

	return e.ID
}

// validate returns the metadata as they are stored. The event is valid if it can be claimed, by its id or,
// if there is one, by a checkpoint.
func (e *Event) validate(checkpoint bool) (metadata string, err error) {
	switch {
	case e.ByCheckpoint && checkpoint:
		return "", nil
	case e.ByCheckpoint:
		return "", fmt.Errorf("%w: it is empty, and there is no checkpoint that could stand in for it", ErrInvalidEventID)
	}
	if err := CheckEventID(e.ID); err != nil {
		return "", err
	}
	if e.Metadata != nil {
		return e.Metadata.marshal()
	}

	return "", nil
}
