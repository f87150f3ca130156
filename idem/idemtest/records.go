package idemtest

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// Records is a consumer of Kafka's records, without Kafka: see Consume. It works with all three forms of
// handlers. With several topics or partitions, the records of each are delivered at the same time, as in
// production.
func Records(guard *idem.Guard, config consume.Config, records ...consume.Record) Subject {
	d := &recordList{guard: guard, config: config, records: records, logs: newLogs(records)}
	_, err := newMember(guard, config, d.logs)
	if err == nil {
		err = d.sameIDs()
	}

	return Subject{guard: guard, delivery: d, err: err}
}

type recordList struct {
	guard   *idem.Guard
	config  consume.Config
	records []consume.Record
	logs    *logs
}

func (l *recordList) deliver(ctx context.Context, p *probe) error {
	config := p.consumer(l.config)
	if p.look != nil {
		config.Lanes = consume.LanesConfig{} // Else it sees what other handlers commit.
	}
	m, err := newMember(l.guard, config, l.logs)
	if err != nil {
		return err
	}
	if p.look == nil {
		return m.run(ctx)
	}
	for _, at := range l.logs.places() {
		if err := m.runOn(ctx, at); err != nil {
			return err
		}
	}

	return nil
}

// again delivers the records as to a group that has lost the offsets that it had committed, and then as
// records that were produced again, if their event ids say that they are the same events.
func (l *recordList) again(ctx context.Context, p *probe) error {
	l.logs.rewind()
	if err := l.deliver(ctx, p); err != nil {
		return err
	}
	l.logs.append(l.produced())

	return l.deliver(ctx, p)
}

// produced are the records that stand for the same events wherever they are in the log.
func (l *recordList) produced() []consume.Record {
	if l.config.Mode == consume.ByCheckpoint {
		return nil
	}
	var same []consume.Record
	for _, r := range l.records {
		elsewhere := r
		elsewhere.Offset++
		first, err := l.eventID(r)
		second, errElsewhere := l.eventID(elsewhere)
		if errors.Join(err, errElsewhere) == nil && first == second {
			same = append(same, r)
		}
	}

	return same
}

// sameIDs returns an error if a record gets another event id each time.
func (l *recordList) sameIDs() error {
	if l.config.Mode == consume.ByCheckpoint {
		return nil
	}
	for i, r := range l.records {
		first, _ := l.eventID(r)
		if second, _ := l.eventID(r); first != second {
			return fmt.Errorf("Config.EventID gives record %d another id each time: %q, %q", i+1, first, second)
		}
	}

	return nil
}

func (l *recordList) eventID(r consume.Record) (string, error) {
	if l.config.EventID == nil {
		return consume.Header(consume.DefaultEventIDHeader)(r)
	}

	return l.config.EventID(r)
}

// race has several members own the partitions one after the other, while the former ones still work.
func (l *recordList) race(ctx context.Context, p *probe) error {
	return atOnce(ctx, members, func(ctx context.Context) error { return l.deliver(ctx, p) })
}

func (l *recordList) count() int { return len(l.records) }

func (l *recordList) reorder(order []int) {
	l.records = inOrder(l.records, order)
	l.logs = newLogs(l.records)
}

// consumer is a configuration with the probe in front of its handler.
func (p *probe) consumer(config consume.Config) consume.Config {
	one, queue, batch := config.Handle, config.HandleQueue, config.HandleBatch
	if one != nil {
		config.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			return p.call(nameOf(m), tx, func(tx pgx.Tx) error { return one(ctx, tx, m) })
		}
	}
	if queue != nil {
		config.HandleQueue = func(ctx context.Context, statements *pgx.Batch, m consume.Message) error {
			return p.call(nameOf(m), nil, func(pgx.Tx) error { return queue(ctx, statements, m) })
		}
	}
	if batch != nil {
		config.HandleBatch = func(ctx context.Context, tx pgx.Tx, messages []consume.Message) error {
			name := nameOf(messages[0])
			if more := len(messages) - 1; more > 0 {
				name = fmt.Sprintf("%s and %d more", name, more)
			}

			return p.call(name, tx, func(tx pgx.Tx) error { return batch(ctx, tx, messages) })
		}
	}

	return config
}

func nameOf(m consume.Message) string {
	name := fmt.Sprintf("%s/%d at offset %d", m.Topic, m.Partition, m.Offset)
	if m.EventID != "" {
		name += fmt.Sprintf(", event %q", m.EventID)
	}

	return name
}
