package kafkaadapter

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/idem"
)

// Message is a record on its way to a Handler.
type Message struct {
	kafka.Message

	// EventID is what Config.EventID made of the record.
	EventID string

	// Attempt counts the runs of the handler for this record by this member since it was
	// assigned the partition, from 1.
	Attempt int

	// DeadLetter is the id of the dead letter that is replayed, or empty.
	DeadLetter string
}

// Lag is how many records the partition held behind this one when it was fetched.
func (m Message) Lag() int64 { return max(0, m.HighWaterMark-m.Offset-1) }

// Handler is the business logic for one record; idem.Handler says what it may do with tx. An
// error rolls everything back, and the handler runs again as Config.Retry says, unless the error wraps
// Permanent's. When no attempt is left Config.OnFailure says what becomes of the record.
//
// The handler owns m: it may change the key, the value and the headers in place, and keep them.
// Another attempt and a dead letter have the record as it was fetched.
//
// A panic is an error too, a *PanicError, unless Config.LetPanic is set.
//
// ctx ends when the handler has to stop: Config.DrainTimeout after the consumer was told to
// stop or has lost the partition.
type Handler func(ctx context.Context, tx pgx.Tx, m Message) error

// BatchHandler is the business logic for several records of one partition, in their order, none
// of which is processed yet. All take effect together. If it fails, they are tried in smaller
// batches, each in a transaction of its own, until the record at fault stands alone; that one
// then goes the way of single records. An *idem.EventError with the index that the record had in
// batch saves the search.
//
// The handler owns batch and the records in it: it may sort, filter, overwrite and keep them.
type BatchHandler func(ctx context.Context, tx pgx.Tx, batch []Message) error

// handler is Config.Handle for one attempt. It notes in ran that it was called.
func (w *worker) handler(m Message, ran *bool) idem.Handler {
	return func(ctx context.Context, tx pgx.Tx) error {
		*ran = true
		w.busy.begin(m.Offset)
		defer w.busy.end()

		return w.try(m, func() error {
			m := m
			m.Message = copyOf(m.Message)

			return w.config.Handle(w.config.Context(ctx, m.Message), tx, m)
		})
	}
}

// batchHandler is Config.HandleBatch. The events' Data are their records.
func (w *worker) batchHandler(ctx context.Context, tx pgx.Tx, fresh []idem.BatchEvent) error {
	w.busy.begin(fresh[0].Offset)
	defer w.busy.end()
	records := make([]*kafka.Message, len(fresh))
	for i, e := range fresh {
		records[i] = e.Data.(*kafka.Message) //nolint:forcetypeassert // gather set it.
	}
	copies := newCopies(records...)
	batch := make([]Message, len(fresh))
	for i, e := range fresh {
		batch[i] = Message{Message: copies.of(records[i]), EventID: e.ID, Attempt: 1}
	}

	return w.try(Message{Message: *records[0], Attempt: 1}, func() error { return w.config.HandleBatch(ctx, tx, batch) })
}

// copies are records that share no bytes with those that they are made of. A handler may do what
// it likes with them: those that were fetched stay as they are, for another attempt or a dead letter.
type copies struct {
	bytes   []byte
	headers []kafka.Header
}

// newCopies makes room for copies of the records: two allocations, however many they are.
func newCopies(records ...*kafka.Message) copies {
	size, headers := 0, 0
	for _, r := range records {
		size += len(r.Key) + len(r.Value)
		headers += len(r.Headers)
		for _, h := range r.Headers {
			size += len(h.Value)
		}
	}

	return copies{bytes: make([]byte, 0, size), headers: make([]kafka.Header, 0, headers)}
}

func (c *copies) of(record *kafka.Message) kafka.Message {
	m := *record
	m.Key, m.Value = c.slice(m.Key), c.slice(m.Value)
	if m.Headers != nil {
		first := len(c.headers)
		for _, h := range m.Headers {
			c.headers = append(c.headers, kafka.Header{Key: h.Key, Value: c.slice(h.Value)})
		}
		m.Headers = c.headers[first:len(c.headers):len(c.headers)]
	}

	return m
}

// slice copies b. What is appended to the copy does not run into the next one.
func (c *copies) slice(b []byte) []byte {
	if b == nil {
		return nil
	}
	first := len(c.bytes)
	c.bytes = append(c.bytes, b...)

	return c.bytes[first:len(c.bytes):len(c.bytes)]
}

func copyOf(record kafka.Message) kafka.Message {
	c := newCopies(&record)

	return c.of(&record)
}
