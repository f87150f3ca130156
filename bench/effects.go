package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
	"github.com/nova-events/idempotent-consumer/lease"
	"github.com/nova-events/idempotent-consumer/outbox"
)

const (
	leaseName   = "lease"
	publishName = "batch_publish"
	insertName  = "batch_insert"
	relayName   = "relay"
	produceName = "produce"
	drainName   = "drain"

	// outboxTopic is where the outbox's records go. It exists only where they are relayed.
	outboxTopic = "bench-outbox"

	// produceBytes is how much the producer gets at once: what a relay gives it by default.
	produceBytes = 900_000
)

// effects measures what leaves the transaction: leases, and the outbox. Each stands beside what it adds to, or is
// limited by.
func (b *bench) effects(ctx context.Context) error {
	s := b.settings
	subjects := []subject{
		singleSubject(s.Workers), {name: leaseName, workers: s.Workers, size: 1, open: openLease},
		{name: batchName, workers: 1, size: s.Batch, open: openRecords}, {name: publishName, workers: 1, size: s.Batch, open: openPublish}, {name: insertName, workers: 1, size: s.Batch, open: openInsert},
	}
	for round := range s.Rounds {
		for _, x := range inTurn(subjects, round) {
			result, err := x.measure(ctx, b.database, s, baseLoad, s.window())
			if err != nil {
				return err
			}
			b.recordEffect(round, measurement{Subject: x.name, Workers: x.workers, Batch: x.size, Unit: eventsPerSecond}, result)
		}
	}
	if s.Broker == noBroker {
		return nil
	}

	return b.relays(ctx)
}

func (b *bench) recordEffect(round int, m measurement, result sample) {
	m.ID, m.Section, m.Load = sectionEffects+"/"+m.Subject, sectionEffects, baseLoad
	b.sayf("round %d/%d  %-45s %9.0f %s", round+1, b.settings.Rounds, m.ID, result.rate, m.Unit)
	b.report.record(m, result)
}

// openLease is an effect outside the transaction, which here is none, and the business write in the transaction that
// completes it.
func openLease(ctx context.Context, j *job) (processor, func(), error) {
	guard, err := newGuard(ctx, j)
	if err != nil {
		return nil, nil, err
	}
	leases, err := lease.New(guard, lease.Config{})

	return func(ctx context.Context, _ int, events []event) error {
		for _, e := range events {
			_, err := leases.Do(ctx, e.ID, func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
				a.InTx(func(ctx context.Context, tx pgx.Tx) error {
					_, err := tx.Exec(ctx, businessOne, e.ID, e.Account, e.Amount)

					return err
				})

				return lease.Result{}, nil
			})
			if err != nil {
				return err
			}
		}

		return nil
	}, nothing, err
}

// openRecords is ProcessBatch whose handler makes a record for each event, and does nothing with it.
func openRecords(ctx context.Context, j *job) (processor, func(), error) {
	return openBatchWith(ctx, j, func(context.Context, pgx.Tx, []outbox.Record) error { return nil })
}

// openPublish is the same, and publishes the records.
func openPublish(ctx context.Context, j *job) (processor, func(), error) {
	return openBatchWith(ctx, j, func(ctx context.Context, tx pgx.Tx, records []outbox.Record) error {
		return outbox.Publish(ctx, tx, records...)
	})
}

// openInsert is the same with a plain INSERT of the same rows.
func openInsert(ctx context.Context, j *job) (processor, func(), error) {
	const insert = `INSERT INTO bench.messages (event_id, topic, key, value)
SELECT unnest($1::text[]), unnest($2::text[]), unnest($3::bytea[]), unnest($4::bytea[])`

	return openBatchWith(ctx, j, func(ctx context.Context, tx pgx.Tx, records []outbox.Record) error {
		n := len(records)
		ids, topics, keys, values := make([]string, n), make([]string, n), make([][]byte, n), make([][]byte, n)
		for i, r := range records {
			ids[i], topics[i], keys[i], values[i] = r.EventID, r.Topic, r.Key, r.Value
		}
		_, err := tx.Exec(ctx, insert, ids, topics, keys, values)

		return err
	})
}

// openBatchWith is openBatch with a record for each event, for which something is done behind the business write.
func openBatchWith(ctx context.Context, j *job, do func(ctx context.Context, tx pgx.Tx, records []outbox.Record) error) (processor, func(), error) {
	guard, err := newGuard(ctx, j)

	return func(ctx context.Context, _ int, events []event) error {
		results, err := guard.ProcessBatch(ctx, batchEvents(events, 0, true), func(ctx context.Context, tx pgx.Tx, fresh []idem.Event) error {
			if err := writeBatch(ctx, tx, fresh); err != nil {
				return err
			}
			records := make([]outbox.Record, len(fresh))
			for i, e := range fresh {
				records[i] = outboxRecord(*e.Data.(*event)) //nolint:forcetypeassert // batchEvents sets it.
			}

			return do(ctx, tx, records)
		})

		return verdict(results, err)
	}, nothing, err
}

// outboxRecord is what record makes, for the outbox.
func outboxRecord(e event) outbox.Record {
	r := record(e, 0)

	return outbox.Record{Topic: outboxTopic, Key: r.Key, Value: r.Value, EventID: e.ID}
}

// relays compares a relay with its two halves: what its producer makes alone of the same records, and how fast PostgreSQL gives them
// away.
func (b *bench) relays(ctx context.Context) error {
	s := b.settings
	if err := b.startBroker(ctx); err != nil {
		return err
	}
	if err := b.servers.createTopic(ctx, outboxTopic, s.Partitions); err != nil {
		return err
	}
	producer, err := kafkaadapter.NewProducer(kafkaadapter.ProducerConfig{Brokers: b.servers.brokers})
	if err != nil {
		return fmt.Errorf("make a producer: %w", err)
	}
	defer producer.Close()
	records := make([]outbox.Record, s.Records/4)
	next, events := make([]event, 1), newStream(baseLoad, 0, 1, s.Accounts)
	for i := range records {
		events.fill(next)
		records[i] = outboxRecord(next[0])
	}
	if err := produceAll(ctx, producer, records[:1]); err != nil { // It learns the partitions.
		return err
	}
	subjects := []struct {
		name    string
		measure func(context.Context, *kafkaadapter.Producer, []outbox.Record) (sample, error)
	}{{produceName, b.produceAlone}, {relayName, b.relay}, {drainName, b.drain}}
	for round := range s.Rounds {
		for _, x := range inTurn(subjects, round) {
			result, err := x.measure(ctx, producer, records)
			if err != nil {
				return fmt.Errorf("%s: %w", x.name, err)
			}
			b.recordEffect(round, measurement{Subject: x.name, Workers: 1, Broker: b.servers.broker, Unit: "records/s"}, result)
		}
	}

	return nil
}

// produceAlone measures the producer, which gets as much at once as a relay gives it.
func (b *bench) produceAlone(ctx context.Context, producer *kafkaadapter.Producer, records []outbox.Record) (sample, error) {
	withHeader := make([]outbox.Record, len(records))
	for i, r := range records {
		r.Headers = []consume.RecordHeader{{Key: eventIDHeader, Value: []byte(r.EventID)}}
		withHeader[i] = r
	}

	return b.timed(ctx, len(records), func(ctx context.Context) error { return produceAll(ctx, producer, withHeader) })
}

func produceAll(ctx context.Context, producer *kafkaadapter.Producer, records []outbox.Record) error {
	atOnce := produceBytes / (valueSize + len(uuid4) + 200) // As the relay counts.
	for len(records) > 0 {
		n := min(atOnce, len(records))
		if err := errors.Join(producer.Produce(ctx, records[:n])...); err != nil {
			return fmt.Errorf("produce: %w", err)
		}
		records = records[n:]
	}

	return nil
}

// published returns connections to a database whose outbox has the records.
func (b *bench) published(ctx context.Context, records []outbox.Record) (*pgxpool.Pool, error) {
	if err := b.database.reset(ctx); err != nil {
		return nil, err
	}
	pool, err := b.database.pool(ctx, 2, nil)
	if err != nil {
		return nil, err
	}
	for some := range slices.Chunk(records, b.settings.Batch) {
		if err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return outbox.Publish(ctx, tx, some...) }); err != nil {
			pool.Close()

			return nil, fmt.Errorf("publish: %w", err)
		}
	}

	return pool, nil
}

// drain measures how fast one session can read the records and delete them: what PostgreSQL has to do for a relay at least.
func (b *bench) drain(ctx context.Context, _ *kafkaadapter.Producer, records []outbox.Record) (sample, error) {
	pool, err := b.published(ctx, records)
	if err != nil {
		return sample{}, err
	}
	defer pool.Close()

	return b.timed(ctx, len(records), func(ctx context.Context) error {
		const most = 10_000
		for after, n := int64(0), most; n == most; {
			err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				rows, _ := tx.Query(ctx, `SELECT id, event_id, topic, key, value FROM idem.outbox WHERE id > $1 ORDER BY id LIMIT $2`, after, most)
				ids, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (id int64, err error) {
					var r outbox.Record
					err = row.Scan(&id, &r.EventID, &r.Topic, &r.Key, &r.Value)

					return id, err
				})
				if n = len(ids); err != nil || n == 0 {
					return err
				}
				after = ids[n-1]
				_, err = tx.Exec(ctx, `DELETE FROM idem.outbox WHERE id = ANY($1)`, ids)

				return err
			})
			if err != nil {
				return fmt.Errorf("drain the outbox: %w", err)
			}
		}

		return nil
	})
}

// relay measures how fast a relay empties the outbox.
func (b *bench) relay(ctx context.Context, producer *kafkaadapter.Producer, records []outbox.Record) (sample, error) {
	pool, err := b.published(ctx, records)
	if err != nil {
		return sample{}, err
	}
	defer pool.Close()
	var delivered atomic.Int64
	relaying, stop := context.WithCancel(ctx)
	defer stop()
	relay, err := outbox.NewRelay(pool, producer, outbox.Config{
		Logger: slog.New(slog.DiscardHandler),
		Hooks: outbox.Hooks{Turn: idem.Hook[outbox.TurnBegin, outbox.TurnEnd]{End: func(_ context.Context, _ outbox.TurnBegin, end outbox.TurnEnd) {
			if end.Err == nil && delivered.Add(int64(end.Delivered)) >= int64(len(records)) {
				stop()
			}
		}}},
	})
	if err != nil {
		return sample{}, fmt.Errorf("make a relay: %w", err)
	}

	return b.timed(relaying, len(records), func(ctx context.Context) error {
		err := relay.Run(ctx)
		if n := delivered.Load(); err == nil && n != int64(len(records)) {
			err = errors.New(strconv.FormatInt(n, 10) + " records were delivered")
		}

		return err
	})
}

// timed measures one piece of work.
func (b *bench) timed(ctx context.Context, n int, work func(ctx context.Context) error) (sample, error) {
	runtime.GC()
	before, err := b.database.usage(ctx)
	if err != nil {
		return sample{}, err
	}
	if err := work(ctx); err != nil {
		return sample{}, err
	}
	took := time.Since(before.at)
	after, err := b.database.usage(context.WithoutCancel(ctx))
	if err != nil {
		return sample{}, err
	}

	return sample{rate: float64(n) / took.Seconds(), cost: after.since(before, int64(n)), others: after.othersSince(before)}, nil
}
