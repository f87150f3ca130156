package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// inLanes configures a member with lanes.
func inLanes(n int, handle consume.Handler) func(*settings) {
	return func(c *settings) {
		c.Lanes.Count = n
		c.Failure.ReplayInterval = 50 * time.Millisecond // It is also how soon the checkpoint follows.
		if handle != nil {
			c.Handle = handle
		}
	}
}

// keyed are events of one partition that share so many keys; the last ones have none.
func keyed(first, n, keys int) []kafka.Message {
	records := events(first, n, 1)
	for i := range records {
		records[i].Key = []byte("key " + strconv.Itoa(i%(keys+1)))
		if i%(keys+1) == keys {
			records[i].Key = nil
		}
	}

	return records
}

// order notes in which order the records of each key were processed.
type order struct {
	mu     sync.Mutex
	latest map[string]int64
	broken []string
}

func (o *order) note(m consume.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.latest == nil {
		o.latest = map[string]int64{}
	}
	key := string(m.Key)
	if last, ok := o.latest[key]; ok && m.Offset < last && m.Key != nil {
		o.broken = append(o.broken, fmt.Sprintf("%q: %d after %d", key, m.Offset, last))
	}
	o.latest[key] = m.Offset
}

// gauge counts how many are in work at the same time.
type gauge struct{ running, most atomic.Int64 }

// enter counts one more, until leave is called.
func (g *gauge) enter() (leave func()) {
	n := g.running.Add(1)
	for most := g.most.Load(); n > most && !g.most.CompareAndSwap(most, n); {
		most = g.most.Load()
	}

	return func() { g.running.Add(-1) }
}

const sharedKeys = 100

// shareKeys gives the records a hundred keys for each partition, by their event ids.
func shareKeys(records []kafka.Message) []kafka.Message {
	for i := range records {
		id, _ := strconv.Atoi(string(records[i].Headers[0].Value))
		records[i].Key = []byte("key " + strconv.Itoa(id%sharedKeys))
	}

	return records
}

// verifyKeys is verify for records of shareKeys, of which only those of one key are in order.
func (s *bench) verifyKeys(t *testing.T, n int) {
	t.Helper()
	s.verifyOnce(t, n)
	s.verifyOrder(t, `"partition", event_id::int % `+strconv.Itoa(sharedKeys))
}

// checkpoint is where the checkpoint of partition 0 is.
func (s *bench) checkpoint(t *testing.T) (next int64) {
	t.Helper()
	if err := s.pool.QueryRow(t.Context(), `SELECT coalesce(max(next_offset), 0) FROM idem.checkpoints WHERE lane = 0`).Scan(&next); err != nil {
		t.Fatal(err)
	}

	return next
}

// Records of different keys are processed at the same time, those of one key in their order,
// duplicates and failures included.
func TestLanes(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		for name, mode := range map[string]consume.Mode{"keys and offsets": consume.ByEventIDAndCheckpoint, "keys": consume.ByEventID} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := setup(t, b, 1)
				records := append(keyed(0, 500, 20), keyed(100, 50, 20)...)
				records[77].Value, records[300].Headers = []byte("poison"), nil
				s.broker.Write(t, s.topic, records...)
				var seen order
				var work gauge
				var refuser refuser
				m := s.start(t, func(c *settings) {
					inLanes(8, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
						seen.note(m)
						defer work.enter()()
						letPass(rand.N(4 * time.Millisecond))

						return refuser.handle(ctx, tx, m)
					})(c)
					c.Mode, c.Failure.Retry.MaxAttempts = mode, 2
				})
				s.awaitCommitted(t, 550)
				if mode == consume.ByEventIDAndCheckpoint {
					until(t, "the checkpoint", func() bool { return s.checkpoint(t) == 550 })
				}
				m.leave(t)
				s.verifyOnce(t, 498)
				if len(seen.broken) > 0 {
					t.Errorf("order of keys: %q", seen.broken)
				}
				if most := work.most.Load(); most < 4 {
					t.Errorf("at most %d records were in work at the same time", most)
				}
				if got := slices.Sorted(slices.Values(s.letters(t))); !slices.Equal(got, []string{"300 open 0", "77 open 2"}) {
					t.Errorf("letters %q", got)
				}
			})
		}
	})
}

// A record that takes long lets the others go on, but not too far, and keeps the place of the
// group and the checkpoint. Another owner goes on there.
func TestLanesKeepTheFirstUnprocessedRecord(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, keyed(0, 200, 150)...)
	var frozen atomic.Bool
	frozen.Store(true)
	handle := func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
		if frozen.Load() && m.Offset == 10 {
			<-ctx.Done()

			return ctx.Err()
		}

		return record(ctx, tx, m)
	}
	slow := s.start(t, func(c *settings) {
		inLanes(4, handle)(c)
		c.Lanes.LookAhead, c.DrainTimeout = 50, 10*time.Millisecond
	})
	// The lane of the slow record holds others back, but nothing behind the look-ahead has begun.
	s.awaitEffects(t, 10+20)
	letPass(300 * time.Millisecond) // For what must not happen.
	var last int64
	if err := s.pool.QueryRow(t.Context(), `SELECT max("offset") FROM public.effects`).Scan(&last); err != nil {
		t.Fatal(err)
	}
	if last >= 10+50 {
		t.Errorf("offset %d is processed, beyond the look-ahead", last)
	}
	if got := s.committed(t); got != 10 {
		t.Errorf("the group is at %d, want 10", got)
	}
	if got := s.checkpoint(t); got > 10 {
		t.Errorf("the checkpoint is at %d, want at most 10", got)
	}

	slow.leave(t)
	if got := s.checkpoint(t); got != 10 {
		t.Errorf("the checkpoint is at %d after the end, want 10", got)
	}
	frozen.Store(false)
	s.start(t, inLanes(4, handle)).leaveAt(t, s, 200)
	s.verifyOnce(t, 200)
}

// leaveAt stops a member once the group has come so far.
func (m *member) leaveAt(t *testing.T, s *bench, n int64) {
	t.Helper()
	s.awaitCommitted(t, n)
	m.leave(t)
}

// A large record waits until others are done with: the look-ahead has a limit in bytes, too.
func TestLanesLimitBytes(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	records := events(0, 40, 1)
	for i := range records {
		records[i].Value = make([]byte, 1000)
	}
	s.broker.Write(t, s.topic, records...)
	var work gauge
	m := s.start(t, func(c *settings) {
		inLanes(16, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			defer work.enter()()
			letPass(2 * time.Millisecond)

			return record(ctx, tx, m)
		})(c)
		c.Batch.Bytes = 3100
	})
	m.leaveAt(t, s, 40)
	if most := work.most.Load(); most > 3 {
		t.Errorf("%d records of 1,000 bytes were in work, with 3,100 allowed", most)
	}
	s.verifyOnce(t, 40)
}

// A record that must stop the consumer stops all lanes, and nothing behind it is committed.
func TestLanesStopAtAFailure(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, keyed(0, 100, 50)...)
	cause := errors.New("no more")
	m := s.start(t, func(c *settings) {
		inLanes(4, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			if m.Offset == 30 {
				return consume.Permanent(cause)
			}

			return record(ctx, tx, m)
		})(c)
		c.Failure.Policy = consume.StopOnFailure
	})
	err := m.wait(t)
	var failed *consume.RecordError
	if !errors.As(err, &failed) || failed.Offset != 30 || !errors.Is(err, cause) {
		t.Errorf("error %v, want the record at offset 30", err)
	}
	if got := s.committed(t); got > 30 {
		t.Errorf("the group is at %d, behind the record that failed", got)
	}
	if slices.Contains(s.effectIDs(t), "81") {
		t.Error("a later record of the same key is processed")
	}
	s.start(t, inLanes(4, nil)).leaveAt(t, s, 100)
	s.verifyOnce(t, 100)
}

// behindAFetch starts a member in two lanes whose first record, of ten with one key, is slow, and returns
// once a fetch behind them has been answered OFFSET_OUT_OF_RANGE.
func (s *bench) behindAFetch(t *testing.T, lanes int, change func()) (m *member, release func()) {
	t.Helper()
	records := events(0, 10, 1)
	for i := range records {
		records[i].Key = []byte("one lane")
	}
	s.broker.Write(t, s.topic, records...)
	slow, released := make(chan struct{}), make(chan struct{})
	release = sync.OnceFunc(func() { close(released) })
	m = s.start(t, func(c *settings) {
		inLanes(lanes, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			if m.Offset == 0 {
				close(slow)
				<-released
			}

			return record(ctx, tx, m)
		})(c)
		c.OnOutOfRange, c.SessionTimeout = consume.SkipToEarliest, 30*time.Second
	})
	t.Cleanup(release) // Of a test that fails, too.
	<-slow
	refused := s.broker.Fake.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.OffsetOutOfRange,
		When: func(r kmsg.Request) bool {
			fetch, ok := r.(*kmsg.FetchRequest)

			return ok && len(fetch.Topics) == 1 && fetch.Topics[0].Partitions[0].FetchOffset == 10
		},
	})
	change()
	if err := refused.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}

	return m, release
}

// A fetch behind records that wait in a lane is refused as out of range, though its offset is in the log:
// what was fetched is processed before the log is read on.
func TestLanesProcessWhatTheyHaveBeforeReadingElsewhere(t *testing.T) {
	t.Parallel()
	for _, lanes := range []int{1, 2} {
		t.Run(strconv.Itoa(lanes), func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			m, release := s.behindAFetch(t, lanes, func() {})
			s.broker.Write(t, s.topic, events(10, 1, 1)...)
			release()
			m.leaveAt(t, s, 11)
			s.verifyOnce(t, 11)
			if got := s.checkpoint(t); got != 11 {
				t.Errorf("the checkpoint is at %d, want 11", got)
			}
		})
	}
}

// Records expire behind those that wait in a lane, and the policy skips them: those that were fetched are
// processed all the same.
func TestLanesProcessWhatTheyHaveBeforeSkipping(t *testing.T) {
	t.Parallel()
	for _, lanes := range []int{1, 2} {
		t.Run(strconv.Itoa(lanes), func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			m, release := s.behindAFetch(t, lanes, func() {
				s.broker.Produce(t, s.topic, events(10, 6, 1), kgo.MaxBufferedRecords(1)) // Each is a batch of its own.
				s.broker.DeleteRecords(t, s.topic, 0, 15)
			})
			release()
			m.leaveAt(t, s, 16)
			if got, want := s.effectIDs(t), []string{"0", "1", "15", "2", "3", "4", "5", "6", "7", "8", "9"}; !slices.Equal(got, want) {
				t.Errorf("effects %q, want %q", got, want)
			}
		})
	}
}

// A handler hangs in the transaction of a lane when another member joins: that one ends the transaction
// and processes everything, as it does with one lane.
func TestHangingLaneIsFenced(t *testing.T) {
	eagerOnly(t, "the partition stays with the member that hangs")
	t.Parallel()
	s := setup(t, broker.InProcess(t), 2)
	const n = 100
	s.broker.Write(t, s.topic, events(0, n, 2)...)
	hangs, wake := make(chan struct{}), make(chan struct{})
	wakeUp := sync.OnceFunc(func() { close(wake) })
	var woken atomic.Pointer[error]
	const drain = 100 * time.Millisecond
	hanging := s.start(t, func(c *settings) {
		var once atomic.Bool
		inLanes(2, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			if m.Offset != 5 || !once.CompareAndSwap(false, true) {
				return record(ctx, tx, m)
			}
			if _, err := tx.Exec(ctx, `SELECT 1`); err != nil {
				return err
			}
			close(hangs)
			<-wake
			err := record(context.WithoutCancel(ctx), tx, m)
			woken.Store(&err)

			return err
		})(c)
		c.DrainTimeout, c.RebalanceTimeout = drain, s.broker.MinSessionTimeout
	})
	t.Cleanup(wakeUp) // Of a test that fails, too.
	<-hangs
	joined := time.Now()
	other := s.start(t, func(c *settings) {
		inLanes(2, nil)(c)
		c.DrainTimeout = drain
	})
	s.awaitCommitted(t, n)
	if took := time.Since(joined); took > 20*time.Second {
		t.Errorf("it took %v until everything was processed", took)
	}
	wakeUp()
	until(t, "the hanging handler to end", func() bool { return woken.Load() != nil })
	if err := *woken.Load(); err == nil {
		t.Error("the transaction of the hanging lane was still alive")
	}
	hanging.leave(t)
	other.leave(t)
	s.verifyOnce(t, n)
}
