package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
)

// eachOf makes a batch handler of one for single records.
func eachOf(handle consume.Handler) consume.BatchHandler {
	return func(ctx context.Context, tx pgx.Tx, batch []consume.Message) error {
		for _, m := range batch {
			if err := handle(ctx, tx, m); err != nil {
				return err
			}
		}

		return nil
	}
}

// Batches with duplicates, records that fail and records without an event id leave what single
// records do.
func TestBatches(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		for name, mode := range map[string]consume.Mode{"keys and offsets": consume.ByEventIDAndCheckpoint, "offsets": consume.ByCheckpoint} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := setup(t, b, 2)
				records := events(0, 1000, 2)
				want, effects, replayed := []string{"100 open 3", "250 open 1"}, 998, 1000
				records[200].Value, records[501].Value = []byte("poison"), []byte("poison for ever")
				if mode != consume.ByCheckpoint {
					records = append(records, events(0, 10, 2)...)
					records[300].Headers = nil
					want, effects, replayed = []string{"100 open 3", "150 open 0", "250 open 1"}, 997, 999 // No replay without an id.
				}
				b.Write(t, s.topic, records...)
				var handler refuser
				var largest atomic.Int64
				m := s.start(t, func(c *settings) {
					c.Handle, c.Mode, c.Failure.Retry.MaxAttempts, c.Batch.Size, c.Failure.ReplayInterval = nil, mode, 3, 100, 50*time.Millisecond
					c.StoreMetadata = true
					c.HandleBatch = func(ctx context.Context, tx pgx.Tx, batch []consume.Message) error {
						largest.Store(max(largest.Load(), int64(len(batch))))

						return eachOf(handler.handle)(ctx, tx, batch)
					}
				})
				s.awaitCommitted(t, int64(len(records)))
				got := s.letters(t)
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("letters %q, want %q", got, want)
				}
				if lines, _, err := s.effects(t.Context()); err != nil || lines != effects {
					t.Errorf("%d effects, %v; want %d", lines, err, effects)
				}
				if n := largest.Load(); n < 2 || n > 100 {
					t.Errorf("the largest batch had %d records, want up to 100", n)
				}
				handler.healed.Store(true)
				s.askForReplay(t)
				until(t, "the replays", func() bool {
					lines, _, err := s.effects(t.Context())

					return err == nil && lines == replayed
				})
				m.leave(t)
				var bare int // What is replayed is stored like any other.
				if err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM idem.processed_events WHERE metadata IS NULL OR fingerprint IS NULL`).Scan(&bare); err != nil || mode != consume.ByCheckpoint && bare != 1 {
					t.Errorf("%d events without metadata or fingerprint, %v", bare, err)
				}
			})
		}
	})
}

// With Linger, records that come one by one are processed together, but one that comes alone at once.
func TestLinger(t *testing.T) {
	t.Parallel()
	const linger = 5 * time.Second
	s := setup(t, broker.InProcess(t), 1)
	assigned, batches := make(chan struct{}), make(chan int, 100)
	m := s.start(t, func(c *settings) {
		c.Handle, c.HandleBatch, c.Batch.Linger, c.SessionTimeout = nil, eachOf(record), linger, 30*time.Second
		c.Hooks.Assignment.Begin = func(ctx context.Context, _ consume.AssignmentBegin) context.Context {
			close(assigned)

			return ctx
		}
		c.Hooks.Process.End = func(_ context.Context, _ consume.ProcessBegin, end consume.ProcessEnd) {
			if end.Processed > 0 {
				batches <- end.Processed
			}
		}
	})
	<-assigned
	alone := func(r kafka.Message) {
		t.Helper()
		began := time.Now()
		s.broker.Write(t, s.topic, r)
		until(t, "a record alone", func() bool { return len(batches) > 0 })
		if n, took := <-batches, time.Since(began); n != 1 || took > linger*9/10 {
			t.Errorf("a record alone: a batch of %d after %v", n, took)
		}
	}
	records := events(0, 22, 1)
	alone(records[0])
	for _, r := range records[1:21] {
		s.broker.Write(t, s.topic, r)
	}
	s.awaitEffects(t, 21)
	sizes := []int{}
	for len(batches) > 0 {
		sizes = append(sizes, <-batches)
	}
	if len(sizes) > 3 {
		t.Errorf("20 records that came within moments were processed in batches of %v", sizes)
	}
	letPass(linger) // The next one comes after a longer pause.
	alone(records[21])
	m.leave(t)
}

// A backlog does not wait, however little of it comes in a fetch.
func TestLingerWithABacklog(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	for _, r := range events(0, 20, 1) {
		s.broker.Write(t, s.topic, r)
	}
	m := s.start(t, func(c *settings) {
		c.Handle, c.HandleBatch, c.MaxBytes, c.Batch.Linger = nil, eachOf(record), 1, patience
	})
	s.awaitEffects(t, 20)
	m.leave(t)
}

// The records of a key keep their order in batches, too.
func TestParkedKeysInBatches(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	records := events(0, 100, 1)
	for i := range records {
		records[i].Key = []byte{"abcd"[i%4]}
	}
	records[41].Value = []byte("poison")
	s.broker.Write(t, s.topic, records...)
	var handler refuser
	m := s.start(t, func(c *settings) {
		c.Handle, c.HandleBatch = nil, eachOf(handler.handle)
		c.Failure.Retry.MaxAttempts, c.Failure.ParkKeys, c.Failure.ReplayInterval = 1, true, 50*time.Millisecond
	})
	s.awaitCommitted(t, 100)
	if n := len(s.letters(t)); n != 15 {
		t.Errorf("%d letters, want the failed record and 14 behind it", n)
	}
	handler.healed.Store(true)
	s.askForReplay(t)
	s.awaitEffects(t, 100)
	m.leave(t)
	var disorder int
	err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM (
		SELECT "offset" < lag("offset") OVER (PARTITION BY "offset" % 4 ORDER BY seq) AS back FROM public.effects) e WHERE back`).Scan(&disorder)
	if err != nil || disorder > 0 {
		t.Errorf("%d records took effect after later ones of their key, %v", disorder, err)
	}
}

// A group's offset beyond the end of the log does not make a policy process all of it again.
func TestOffsetBeyondTheLogGoesOnAtTheCheckpoint(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 1)
		b.Write(t, s.topic, events(0, 20, 1)...)
		inMode := func(c *settings) {
			c.Mode, c.OnOutOfRange = consume.ByCheckpoint, consume.SkipToEarliest
		}
		m := s.start(t, inMode)
		s.awaitCommitted(t, 20)
		m.leave(t)
		s.rewind(t, 1000) // It is no rewinding.
		m = s.start(t, inMode)
		s.awaitCommitted(t, 20)
		b.Write(t, s.topic, events(20, 10, 1)...)
		s.awaitCommitted(t, 30)
		m.leave(t)
		var lines int
		if err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM public.effects`).Scan(&lines); err != nil || lines != 30 {
			t.Errorf("30 records took effect %d times, %v", lines, err)
		}
	})
}

// A copy of a dead letter that cannot be made holds nobody up.
func TestDeadLetterTopicWithTooFewPartitions(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 2)
		s.create(t, s.topic+"-dlt", 1)
		records := events(0, 10, 2)
		records[3].Value = []byte("poison for ever")
		b.Write(t, s.topic, records...)
		m := s.start(t, func(c *settings) { c.Handle, c.Failure.DeadLetterSuffix = (&refuser{}).handle, "-dlt" })
		s.awaitCommitted(t, 10)
		m.leave(t)
		if got := s.letters(t); fmt.Sprint(got) != "[1 open 1]" {
			t.Errorf("letters %q", got)
		}
	})
}

// A dead letter whose replay kills processes is given back to those who decide.
func TestReplayThatKillsProcesses(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	records := events(0, 3, 1)
	records[1].Value = []byte("poison")
	s.broker.Write(t, s.topic, records...)
	handler := func(c *settings) {
		c.Handle, c.Failure.Retry.MaxAttempts, c.Failure.ReplayInterval = (&refuser{}).handle, 1, 50*time.Millisecond
	}
	m := s.start(t, handler)
	s.awaitCommitted(t, 3)
	m.leave(t)
	// As five processes leave it that have begun with it and died.
	if _, err := s.pool.Exec(t.Context(), `UPDATE idem.dead_letters SET state = 'replay', starts = 5`); err != nil {
		t.Fatal(err)
	}
	m = s.start(t, func(c *settings) {
		handler(c)
		c.Handle = func(context.Context, pgx.Tx, consume.Message) error { panic("it must not run") }
	})
	until(t, "the letter to be open again", func() bool { return fmt.Sprint(s.letters(t)) == "[1 open 1]" })
	m.leave(t)
}

// Each record fails at times, as with a call to a service that is not always there: a batch of hundreds always does, and stood still for
// ever.
func TestLargeBatchWhoseRecordsFailAtTimes(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	const n = 600
	s.broker.Write(t, s.topic, events(0, n, 1)...)
	largest := 0
	s.start(t, func(c *settings) {
		c.Handle, c.HandleBatch = nil, func(ctx context.Context, tx pgx.Tx, batch []consume.Message) error {
			for i, m := range batch {
				if rand.IntN(20) == 0 {
					return &idem.EventError{Index: i, Err: consume.Transient(errUnavailable)}
				}
				if err := record(ctx, tx, m); err != nil {
					return err
				}
			}
			largest = max(largest, len(batch))

			return nil
		}
	}).leaveAt(t, s, n)
	s.verify(t, n)
	if largest < 2 {
		t.Errorf("the largest batch had %d records", largest)
	}
}
