package ops

import (
	"errors"
	"fmt"
)

// Errors say what is wrong and what to do next. These are their kinds, for errors.Is. Other errors come
// from the database.
var (
	// ErrInvalid is returned, with the reason, when an argument is not valid. Nothing was tried, or nothing
	// changed.
	ErrInvalid = errors.New("ops: invalid argument")

	// ErrUnknownConsumer is returned, with the names of the registered consumers, when a consumer is not
	// registered. No other call registers a consumer, because its name may be mistyped.
	ErrUnknownConsumer = errors.New("ops: unknown consumer")

	// ErrConsumerExists is returned when the new name of a consumer is in use, or a consumer is
	// already registered with another retention.
	ErrConsumerExists = errors.New("ops: the consumer exists already")

	// ErrConsumerRuns is returned when a consumer that is to be renamed, deleted or bound to another group is still
	// processing. Stop it and call again.
	ErrConsumerRuns = errors.New("ops: the consumer runs")

	// ErrUnknownDeadLetter is returned when no dead letter has the id, or an id that begins with
	// it.
	ErrUnknownDeadLetter = errors.New("ops: unknown dead letter")

	// ErrUnknownLease is returned when the consumer has no lease of the event: it was completed, or no attempt has
	// begun.
	ErrUnknownLease = errors.New("ops: unknown lease")

	// ErrLeaseRuns is returned when a lease is to be decided while an attempt is running.
	ErrLeaseRuns = errors.New("ops: an attempt is running")

	// ErrUnknownEvent is returned when the consumer does not know the event: the event was never
	// processed, or is forgotten.
	ErrUnknownEvent = errors.New("ops: unknown event")

	// ErrNoPlace is returned when the place of the event's record is not stored, or several are. Give topic, partition
	// and offset instead.
	ErrNoPlace = errors.New("ops: the place of the event's record is not stored")

	// ErrNoCheckpoint is returned, with the topics or partitions that have one, when there is no checkpoint
	// to set.
	ErrNoCheckpoint = errors.New("ops: no such checkpoint")

	// ErrNotNext is returned, with the offset of the checkpoint, when a record that is to be skipped is not the
	// one at which its checkpoint stands.
	ErrNotNext = errors.New("ops: the record is not the next one")

	// ErrChanged is returned when what somebody has looked at has changed since, so that the call would do something else
	// than they know. Look again, and decide anew.
	ErrChanged = errors.New("ops: changed meanwhile")

	// ErrNotProcessed is returned by Reprocess for a record that the partition's checkpoint has not reached: it
	// will be processed anyway.
	ErrNotProcessed = errors.New("ops: the record is not processed yet")

	// ErrRequested is returned by Reprocess when the record already has an unresolved dead letter, or was
	// requested before: replay that one.
	ErrRequested = errors.New("ops: the record has an unresolved dead letter")

	// ErrBusy is returned by Cleanup when another process is cleaning up, which does the same work.
	ErrBusy = errors.New("ops: another process is cleaning up")

	// ErrImport is returned, with the reason, when a table cannot be imported, or not all of its rows.
	ErrImport = errors.New("ops: the table cannot be imported")

	// ErrNewer is returned by PlanMigration when the tables are newer than this release. Migrate them
	// with the release that created them, or a newer one.
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
