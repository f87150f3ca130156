package consume

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Message is a record as a Handler gets it.
type Message struct {
	Record

	// EventID is what Config.EventID made of the record.
	EventID string

	// Attempt counts the runs of the handler for this record by this member since it was
	// assigned the partition, from 1.
	Attempt int

	// DeadLetter is the id of the dead letter that is replayed, or empty.
	DeadLetter string
}

// Handler is the business logic for one record; idem.Handler says what it may do with tx. An error rolls
// everything back, and the handler runs again as FailureConfig.Retry says, unless the error is Permanent.
// When no attempt is left, FailureConfig.Policy says what becomes of the record.
//
// The handler owns m: it may change the key, the value and the headers in place, and keep them.
// Another attempt and a dead letter have the record as it was fetched.
//
// A panic is an error too, a *PanicError, unless Config.LetPanic is set.
//
// ctx ends when the handler has to stop: Config.DrainTimeout after the consumer was told to
// stop or has lost the partition.
type Handler func(ctx context.Context, tx pgx.Tx, m Message) error

// QueueHandler is the business logic for one record of a handler that only writes: it queues statements,
// and returns before they are executed. They are executed in the order of the records, in the transaction
// that claims them. Statements of a record whose event was processed before are not executed. queue is for
// this record alone. To read an answer, use the functions of QueuedQuery (pgx.Batch); a function that returns
// an error fails its record. Otherwise it follows the rules of Handler: m belongs to it, and it may run again.
type QueueHandler func(ctx context.Context, queue *pgx.Batch, m Message) error

// BatchHandler is the business logic for several records of one partition, in their order, none of
// which is processed yet. All take effect together. If it fails, the records are tried in smaller
// batches, each in a transaction of its own, until the record at fault is alone; that record is
// then treated like a single one. Return an *idem.EventError with the index that the record had in
// batch to save the search.
//
// The handler owns batch and the records in it: it may sort, filter, overwrite and keep them.
type BatchHandler func(ctx context.Context, tx pgx.Tx, batch []Message) error
