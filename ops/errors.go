package ops

import (
	"errors"
	"fmt"
)

// Errors say what is wrong and what to do next; these tell their kinds (errors.Is). Others come from the
// database.
var (
	// ErrInvalid is returned, with the reason, when an argument is not valid. Nothing was tried, or nothing
	// changed.
	ErrInvalid = errors.New("ops: invalid argument")

	// ErrUnknownConsumer is returned, with the names of those that are registered, when a consumer is not.
	// Nothing registers one by the way: its name may be mistyped.
	ErrUnknownConsumer = errors.New("ops: unknown consumer")

	// ErrConsumerExists is returned when the new name of a consumer, or the retention that is to be
	// registered, belongs to one that is there already.
	ErrConsumerExists = errors.New("ops: the consumer exists already")

	// ErrConsumerRuns is returned when a consumer that is to be renamed or deleted processes something. Stop
	// it and call again.
	ErrConsumerRuns = errors.New("ops: the consumer runs")

	// ErrUnknownDeadLetter is returned when no dead letter has the id, or one that begins so.
	ErrUnknownDeadLetter = errors.New("ops: unknown dead letter")

	// ErrUnknownEvent is returned when the consumer does not know the event: it never was processed, or it
	// is forgotten.
	ErrUnknownEvent = errors.New("ops: unknown event")

	// ErrNoPlace is returned when the place of an event's record is not stored with it. Name the record by its
	// place.
	ErrNoPlace = errors.New("ops: the place of the event's record is not stored")

	// ErrNoCheckpoint is returned, with the topics or partitions that have one, when none is there to be set.
	ErrNoCheckpoint = errors.New("ops: no such checkpoint")

	// ErrNotProcessed is returned by Reprocess for a record that the partition's checkpoint has not reached: it
	// is going to be processed anyway.
	ErrNotProcessed = errors.New("ops: the record is not processed yet")

	// ErrRequested is returned by Reprocess when the record has an unresolved dead letter already, or was
	// asked for: replay that one.
	ErrRequested = errors.New("ops: the record has an unresolved dead letter")

	// ErrBusy is returned by Cleanup when another process is cleaning up. That one does the work.
	ErrBusy = errors.New("ops: another process is cleaning up")

	// ErrImport is returned, with the reason, when a table cannot be imported, or not all of its rows.
	ErrImport = errors.New("ops: the table cannot be imported")

	// ErrNewer is returned by PlanMigration when the tables are newer than this release. Migrate them
	// with the release that made them, or a newer one.
	ErrNewer = errors.New("ops: the tables are newer than this release")
)

// refusal is an error whose text is for people and whose kind is for programs.
type refusal struct {
	kind error
	text error
}

func (r *refusal) Error() string   { return r.text.Error() }
func (r *refusal) Unwrap() []error { return []error{r.kind, r.text} }

func refuse(kind error, format string, args ...any) error {
	return &refusal{kind: kind, text: fmt.Errorf(format, args...)}
}

func invalid(format string, args ...any) error { return refuse(ErrInvalid, format, args...) }
