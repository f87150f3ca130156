package engine

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// handler is Config.Handle for one attempt. It notes in ran that it was called.
func (w *worker) handler(m consume.Message, ran *bool) idem.Handler {
	return func(ctx context.Context, tx pgx.Tx) error {
		*ran = true
		w.handles(m.Offset)
		defer w.handled()

		return w.call(ctx, m, func() consume.Messages { return consume.MessagesOf(m) }, func(ctx context.Context) error {
			m := m
			m.Record = copyOf(m.Record)

			return w.handle(ctx, tx, m)
		})
	}
}

// handle calls Config.Handle with a copy of the record.
func (w *worker) handle(ctx context.Context, tx pgx.Tx, m consume.Message) error {
	return w.limited(ctx, tx, func(ctx context.Context) error { return w.config.Handle(ctx, tx, m) })
}

// limited calls a handler with Config.HandlerTimeout. If that has ended a statement, it has ended the connection, too, whatever the handler
// makes of it.
func (w *worker) limited(ctx context.Context, tx pgx.Tx, call func(context.Context) error) error {
	limit := w.config.HandlerTimeout
	if limit == 0 {
		return call(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := call(limited)
	switch {
	case limited.Err() == nil || ctx.Err() != nil:
		return err
	case err != nil:
		return fmt.Errorf("%w (%v): %w", consume.ErrHandlerTimeout, limit, err)
	case tx.Conn().IsClosed():
		return fmt.Errorf("%w (%v), and returned no error", consume.ErrHandlerTimeout, limit)
	default:
		return nil
	}
}

// several is the handler for several records in one transaction, or nil if each has its own.
func (w *worker) several() idem.BatchHandler {
	switch {
	case !w.checkpoints() || w.lanes != nil:
		return nil
	case w.config.HandleBatch != nil:
		return w.batchHandler
	case w.config.HandleQueue != nil:
		return w.queueHandler
	case w.config.OwnTransactions:
		return nil
	default:
		return w.sharedHandler
	}
}

// shares reports whether Config.Handle is what runs in a transaction for several records.
func (w *worker) shares() bool { return w.config.HandleBatch == nil && w.config.HandleQueue == nil }

// batchHandler is Config.HandleBatch.
func (w *worker) batchHandler(ctx context.Context, tx pgx.Tx, fresh []idem.Event) error {
	batch := messagesOf(fresh)
	w.handles(batch[0].Offset)
	defer w.handled()

	return w.call(ctx, batch[0], func() consume.Messages { return fetchedMessages(fresh) }, func(ctx context.Context) error {
		return w.limited(ctx, tx, func(ctx context.Context) error { return w.config.HandleBatch(ctx, tx, batch) })
	})
}

// fetchedMessages returns the records that are the Data of events, as they were fetched.
func fetchedMessages(events []idem.Event) consume.Messages {
	return consume.Messages{First: fetchedMessage(&events[0]), Count: len(events), All: func(yield func(consume.Message) bool) {
		for i := range events {
			if !yield(fetchedMessage(&events[i])) {
				return
			}
		}
	}}
}

func fetchedMessage(e *idem.Event) consume.Message {
	return consume.Message{Record: *recordOf(e), EventID: e.ID, Attempt: 1}
}

// recordOf returns the record that an event is made of.
func recordOf(e *idem.Event) *consume.Record {
	return e.Data.(*consume.Record) //nolint:forcetypeassert // gather set it.
}

// messagesOf returns the records that are the Data of events, as handlers get them.
func messagesOf(events []idem.Event) []consume.Message {
	var c copies
	for i := range events {
		c.expect(recordOf(&events[i]))
	}
	messages := make([]consume.Message, len(events))
	for i := range events {
		e := &events[i]
		messages[i] = consume.Message{Record: c.of(recordOf(e)), EventID: e.ID, Attempt: 1}
	}

	return messages
}

// copies are records that share no bytes with the fetched ones. A handler may change them; the
// fetched records stay as they are, for another attempt or a dead letter.
//
// Call expect for all before the first is made: then they take two allocations, however many they
// are.
type copies struct {
	size, count int // of the bytes and of the headers to come
	bytes       []byte
	headers     []consume.RecordHeader
}

func (c *copies) expect(r *consume.Record) {
	c.size += len(r.Key) + len(r.Value)
	c.count += len(r.Headers)
	for _, h := range r.Headers {
		c.size += len(h.Value)
	}
}

func (c *copies) of(record *consume.Record) consume.Record {
	if c.bytes == nil {
		c.bytes, c.headers = make([]byte, 0, c.size), make([]consume.RecordHeader, 0, c.count)
	}
	m := *record
	m.Key, m.Value = c.slice(m.Key), c.slice(m.Value)
	if m.Headers != nil {
		first := len(c.headers)
		for _, h := range m.Headers {
			c.headers = append(c.headers, consume.RecordHeader{Key: h.Key, Value: c.slice(h.Value)})
		}
		m.Headers = c.headers[first:len(c.headers):len(c.headers)]
	}

	return m
}

// slice copies b. Appending to the copy does not overwrite the next one.
func (c *copies) slice(b []byte) []byte {
	if b == nil {
		return nil
	}
	first := len(c.bytes)
	c.bytes = append(c.bytes, b...)

	return c.bytes[first:len(c.bytes):len(c.bytes)]
}

func copyOf(record consume.Record) consume.Record {
	var c copies
	c.expect(&record)

	return c.of(&record)
}
