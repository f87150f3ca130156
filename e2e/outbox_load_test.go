package e2e_test

import (
	"context"
	"fmt"
	"os"
	"runtime/metrics"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/ops"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// envOpen is for how long TestOutboxBesideAnOpenTransaction leaves a transaction open, "30s", and envBacklog is how many records wait in
// TestOutboxBacklog.
const (
	envOpen    = "IDEM_TEST_OUTBOX_OPEN"
	envBacklog = "IDEM_TEST_OUTBOX_BACKLOG"
)

// acknowledged tells when Kafka has records, by their values.
type acknowledged struct{ records sync.Map }

func (a *acknowledged) of(value string) chan time.Time {
	known, _ := a.records.LoadOrStore(value, make(chan time.Time, 1))

	return known.(chan time.Time) //nolint:forcetypeassert // There is nothing else.
}

func (a *acknowledged) hook() idem.Hook[outbox.ProduceBegin, outbox.ProduceEnd] {
	return idem.Hook[outbox.ProduceBegin, outbox.ProduceEnd]{
		End: func(_ context.Context, b outbox.ProduceBegin, e outbox.ProduceEnd) {
			for i, r := range b.Records {
				if e.Errs == nil || e.Errs[i] == nil {
					select {
					case a.of(string(r.Value)) <- time.Now():
					default: // It was acknowledged before.
					}
				}
			}
		},
	}
}

// A transaction that has published and stays open delays no other's records: each comes while that is open. Its own come when it commits.
func TestOutboxBesideAnOpenTransaction(t *testing.T) {
	t.Parallel()
	lasts := time.Second
	if text := os.Getenv(envOpen); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		const partitions, writers = 4, 4
		s := setup(t, b, partitions)
		var (
			acks    acknowledged
			numbers atomic.Int64
		)
		s.startRelayWith(t, outbox.Config{Poll: 10 * time.Millisecond, Hooks: outbox.Hooks{Produce: acks.hook()}})
		// others publish for a while, each its next record when Kafka has the former.
		others := func(phase string) {
			var (
				mu     sync.Mutex
				delays []time.Duration
				all    sync.WaitGroup
			)
			began := time.Now()
			for w := range writers {
				all.Go(func() {
					for time.Since(began) < lasts {
						value := strconv.FormatInt(numbers.Add(1), 10)
						err := pgx.BeginFunc(t.Context(), s.pool, func(tx pgx.Tx) error {
							return outbox.Publish(t.Context(), tx, outbox.Record{Topic: s.topic, Key: fmt.Append(nil, "w", w), Value: []byte(value)})
						})
						committed := time.Now()
						if err != nil {
							t.Error(err)

							return
						}
						select {
						case at := <-acks.of(value):
							mu.Lock()
							delays = append(delays, at.Sub(committed))
							mu.Unlock()
						case <-time.After(patience):
							t.Errorf("%s: record %s does not come", phase, value)

							return
						}
					}
				})
			}
			all.Wait()
			slices.Sort(delays)
			if n := len(delays); n > 0 {
				t.Logf("%s: %d records were in Kafka after %v (median), %v (99 %%), %v (max)", phase, n, delays[n/2], delays[n*99/100], delays[n-1])
			}
		}
		others("alone")

		open, err := s.pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer open.Rollback(context.WithoutCancel(t.Context())) //nolint:errcheck // After COMMIT it does nothing.
		late := outbox.Record{Topic: s.topic, Key: []byte("late"), Value: []byte("0")}
		if err := outbox.Publish(t.Context(), open, late); err != nil {
			t.Fatal(err)
		}
		others("beside an open transaction")
		if err := open.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.awaitNoneInOutbox(t, "true")
		if again := verifyRelayed(t, s.relayed(t, partitions), int(numbers.Load())+1); again > 0 {
			t.Errorf("%d records came twice", again)
		}
	})
}

// A relay finds many records waiting, and is given no more at once than it may have, while others are published. All come, each
// key's in their order, and the table is as small as before when it is vacuumed.
func TestOutboxBacklog(t *testing.T) {
	t.Parallel()
	backlog := 20_000
	if text := os.Getenv(envBacklog); text != "" {
		var err error
		if backlog, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		const partitions, keys, each, maxBytes = 4, 100, 5_000, 900_000
		s := setup(t, b, partitions)
		published := 0
		publish := func(n int) {
			for last := published + n; published < last; published += each {
				records := s.outgoing(published, each, keys)
				for i := range records {
					records[i].Value = fmt.Appendf(nil, "%0300d", published+i)
				}
				s.publish(t, records...)
			}
		}
		publish(backlog)
		s.logOutbox(t, "before")
		status, err := ops.New(s.pool, ops.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if now, err := status.Status(t.Context()); err != nil || now.Outbox.Waiting != int64(min(backlog, ops.OutboxCountLimit)) {
			t.Errorf("status has %+v, %v; want %d waiting records", now.Outbox, err, backlog)
		}

		var largest, heap atomic.Uint64 // The relay sets them.
		began := time.Now()
		stop := s.startRelayWith(t, outbox.Config{Poll: 10 * time.Millisecond, Hooks: outbox.Hooks{Produce: idem.Hook[outbox.ProduceBegin, outbox.ProduceEnd]{
			Begin: func(ctx context.Context, b outbox.ProduceBegin) context.Context {
				size := 0
				for _, r := range b.Records {
					size += len(r.Key) + len(r.Value)
				}
				largest.Store(max(largest.Load(), uint64(size)))
				heap.Store(max(heap.Load(), heapObjects()))

				return ctx
			},
		}}})
		publish(backlog / 4)
		s.awaitNoneInOutbox(t, "true")
		took := time.Since(began)
		stop()
		t.Logf("%d records in %v, %.0f a second; at most %d bytes at once, %d MB of objects in the process", published, took,
			float64(published)/took.Seconds(), largest.Load(), heap.Load()>>20)
		if largest.Load() > maxBytes {
			t.Errorf("the producer was given %d bytes at once", largest.Load())
		}
		s.logOutbox(t, "relayed")
		if _, err := s.owner.Exec(t.Context(), `VACUUM idem.outbox`); err != nil {
			t.Fatal(err)
		}
		if size := s.logOutbox(t, "vacuumed"); size > 0 {
			t.Errorf("the empty table has %d bytes", size)
		}
		if again := verifyRelayed(t, s.relayed(t, partitions), published); again > 0 {
			t.Errorf("%d records came twice", again)
		}
	})
}

// logOutbox logs the sizes of the outbox, and returns that of the table without its indexes.
func (s *bench) logOutbox(t *testing.T, when string) (table int64) {
	t.Helper()
	var indexes int64
	err := s.pool.QueryRow(t.Context(), `SELECT pg_catalog.pg_relation_size('idem.outbox'), pg_catalog.pg_indexes_size('idem.outbox')`).Scan(&table, &indexes)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: the table has %d kB, its indexes %d kB", when, table>>10, indexes>>10)

	return table
}

func heapObjects() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)

	return sample[0].Value.Uint64()
}
