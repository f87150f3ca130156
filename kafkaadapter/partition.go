package kafkaadapter

import (
	"context"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
)

// worker processes the records of one partition in their order, for one generation.
type worker struct {
	generation *generation
	config     *Config
	guard      *idem.Guard
	topic      string
	partition  int
	start      int64 // an offset, or kafka.FirstOffset or kafka.LastOffset
	log        *slog.Logger
}

func newWorker(g *generation, topic string, assigned kafka.PartitionAssignment) *worker {
	return &worker{
		generation: g, config: &g.consumer.config, guard: g.consumer.guard,
		topic: topic, partition: assigned.ID, start: assigned.Offset,
		log: g.log.With("topic", topic, "partition", assigned.ID),
	}
}

// run returns nil once the partition is revoked, or an error that must end the consumer.
// Handlers run with the context work: they finish what they have begun after the revocation.
func (w *worker) run(revoked, work context.Context) error {
	fetching, stop := context.WithCancel(revoked)
	f := newFetcher(w)
	go f.run(fetching)
	defer func() {
		stop()
		<-f.ended
	}()

	for response := range f.responses {
		for _, record := range response.Messages {
			if revoked.Err() != nil {
				return nil
			}
			if err := w.process(revoked, work, record); err != nil {
				return err
			}
		}
		if revoked.Err() == nil {
			w.done(response.Next)
		}
	}

	return f.err // written before responses is closed
}

func (w *worker) done(offset int64) { w.generation.done(w.topic, w.partition, offset) }

// process sees to it that the record has taken effect, by this call or before. It returns nil
// without that if the partition is revoked.
func (w *worker) process(revoked, work context.Context, record kafka.Message) error {
	m := Message{Message: record}
	id, err := w.config.EventID(record)
	if err != nil {
		return w.refuse(m, err)
	}
	m.EventID = id

	for tries := 1; ; tries++ {
		ran := false
		m.Attempt++
		err := w.processOnce(work, m, &ran)
		transient := idem.IsTransient(err)
		if !ran || transient {
			m.Attempt-- // It was not the handler's fault.
		}
		switch {
		case err == nil:
			w.done(record.Offset + 1)

			return nil
		case work.Err() != nil, transient && revoked.Err() != nil:
			return nil //nolint:nilerr // The next owner of the partition takes care of it.
		case !transient && (!ran || m.Attempt >= w.config.MaxAttempts):
			return w.refuse(m, err)
		}
		w.log.WarnContext(work, "kafkaadapter: record not processed, trying again", "offset", record.Offset,
			"event_id", id, "attempt", m.Attempt, "transient", transient, "error", err)
		if !backoff.Sleep(revoked, retryPauses.Pause(tries)) {
			return nil
		}
	}
}

// processOnce tries once; repeating is up to process, which knows of the revocation.
func (w *worker) processOnce(work context.Context, m Message, ran *bool) error {
	options := []idem.Option{idem.WithRetry(idem.RetryPolicy{MaxAttempts: 1})}
	if w.config.StoreMetadata {
		options = append(options, idem.WithMetadata(idem.Metadata{
			Topic: m.Topic, Partition: int32(m.Partition), Offset: m.Offset, //nolint:gosec // Kafka's partitions have 32 bits.
			Key: m.Key, ProducerTime: m.Time, Attempt: m.Attempt,
		}))
	}
	_, err := w.guard.ProcessIfNew(work, m.EventID, func(ctx context.Context, tx pgx.Tx) error {
		*ran = true

		return w.config.Handle(ctx, tx, m)
	}, options...)

	return err //nolint:wrapcheck // refuse wraps it.
}

// refuse makes the error that ends the consumer at a record.
func (w *worker) refuse(m Message, err error) error {
	return &RecordError{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Attempts: m.Attempt, Err: err}
}
