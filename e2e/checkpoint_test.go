package e2e_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// rewind sets the group, which has no members, back to an offset of its only partition, and
// forgets all event ids, as retention would.
func (s *bench) rewind(t *testing.T, offset int64) {
	t.Helper()
	s.setGroup(t, offset)
	if _, err := s.pool.Exec(t.Context(), `DELETE FROM idem.processed_events`); err != nil {
		t.Fatal(err)
	}
}

// What is delivered again after its event ids are forgotten is known by its place, in the modes
// that keep one; duplicates by the producer are known in the modes with keys.
func TestModes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		mode                 consume.Mode
		alone                bool // each record has a transaction of its own, duplicates have none
		produced, redelivery int  // how often the events take effect after the former, after the latter
	}{
		"keys and offsets":        {consume.ByEventIDAndCheckpoint, false, 10, 10},
		"keys and offsets, alone": {consume.ByEventIDAndCheckpoint, true, 10, 10},
		"keys":                    {consume.ByEventID, false, 10, 20},
		"offsets":                 {consume.ByCheckpoint, false, 20, 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			s.broker.Write(t, s.topic, append(events(0, 10, 1), events(0, 10, 1)...)...)
			inMode := func(c *settings) { c.Mode, c.OwnTransactions = test.mode, test.alone }
			m := s.start(t, inMode)
			s.awaitCommitted(t, 20)
			m.leave(t)
			if lines, _, err := s.effects(t.Context()); err != nil || lines != test.produced {
				t.Errorf("%d effects of 10 events that were produced twice, %v; want %d", lines, err, test.produced)
			}

			s.rewind(t, 0)
			s.broker.Write(t, s.topic, events(10, 1, 1)...)
			m = s.start(t, inMode)
			s.awaitCommitted(t, 21)
			m.leave(t)
			if lines, _, err := s.effects(t.Context()); err != nil || lines != test.redelivery+1 {
				t.Errorf("%d effects after all was delivered again and forgotten, %v; want %d", lines, err, test.redelivery+1)
			}
		})
	}
}

// A former owner was killed after a transaction and before its commit to Kafka. The next one has
// nothing to do, but the group must not seem to lag for ever.
func TestCheckpointAheadOfTheGroup(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 10, 1)...)
	m := s.start(t, nil)
	s.awaitCommitted(t, 10)
	m.leave(t)
	s.rewind(t, 3)
	m = s.start(t, nil)
	s.awaitCommitted(t, 10)
	m.leave(t)
	s.verify(t, 10)
}

// A member whose handler hangs and pays no heed to its context: the group gives its partition to
// another one, which ends its transaction. What it does later has no effect.
func TestHangingMemberIsFenced(t *testing.T) {
	eagerOnly(t, "the partition stays with the member that hangs")
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		for name, mode := range map[string]consume.Mode{"keys and offsets": consume.ByEventIDAndCheckpoint, "offsets": consume.ByCheckpoint} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := setup(t, b, 1)
				s.broker.Write(t, s.topic, events(0, 10, 1)...)
				hangs, wake := make(chan struct{}), make(chan struct{})
				wakeUp := sync.OnceFunc(func() { close(wake) })
				var woken atomic.Pointer[error]
				hanging := s.start(t, func(c *settings) {
					c.Mode, c.DrainTimeout, c.RebalanceTimeout = mode, 100*time.Millisecond, s.broker.MinSessionTimeout
					var once atomic.Bool
					c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
						if m.Offset != 5 || !once.CompareAndSwap(false, true) {
							return record(ctx, tx, m)
						}
						close(hangs)
						<-wake
						err := record(context.WithoutCancel(ctx), tx, m)
						woken.Store(&err)

						return err
					}
				})
				t.Cleanup(wakeUp) // Of a test that fails, too.
				<-hangs
				other := s.start(t, func(c *settings) { c.Mode, c.DrainTimeout = mode, 100*time.Millisecond })
				s.awaitCommitted(t, 10)
				wakeUp()
				until(t, "the hanging handler to end", func() bool { return woken.Load() != nil })
				if err := *woken.Load(); err == nil {
					t.Error("the transaction of the hanging member was still alive")
				}
				s.broker.Write(t, s.topic, events(10, 10, 1)...)
				s.awaitCommitted(t, 20)
				hanging.leave(t)
				other.leave(t)
				var lines, distinct int
				err := s.pool.QueryRow(t.Context(), `SELECT count(*), count(DISTINCT "offset") FROM public.effects`).Scan(&lines, &distinct)
				if err != nil || lines != 20 || distinct != 20 {
					t.Errorf("%d records took effect %d times, %v; want 20 once", distinct, lines, err)
				}
			})
		}
	})
}

// The topic is deleted and created again while nobody looks, and its log has grown beyond the
// checkpoint: only the topic's id tells that these are other records.
func TestRecreatedTopic(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]struct {
		consume.OutOfRangePolicy

		effects   int // of 10 events before and 30 after the topic was created again
		committed int64
	}{
		"earliest": {consume.SkipToEarliest, 40, 30},
		"latest":   {consume.SkipToLatest, 11, 31},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			s.broker.Write(t, s.topic, append(events(0, 10, 1), events(0, 10, 1)...)...)
			m := s.start(t, nil)
			s.awaitCommitted(t, 20)
			m.leave(t)

			s.broker.DeleteTopic(t, s.topic)
			s.create(t, s.topic, 1)
			s.broker.Write(t, s.topic, events(10, 30, 1)...)
			err := s.start(t, nil).wait(t)
			if !errors.Is(err, consume.ErrOffsetOutOfRange) || !strings.Contains(err.Error(), "created again") {
				t.Errorf("without a policy Run returned %v", err)
			}

			var skipped atomic.Int64
			m = s.start(t, func(c *settings) {
				c.OnOutOfRange = policy.OutOfRangePolicy
				c.Hooks.Event = func(_ context.Context, e consume.Event) {
					if e.Kind == consume.EventSkipped {
						skipped.Store(e.Offset + 1)
					}
				}
			})
			until(t, "the member to go on elsewhere", func() bool { return skipped.Load() != 0 })
			if policy.OutOfRangePolicy == consume.SkipToLatest {
				s.broker.Write(t, s.topic, events(40, 1, 1)...)
			}
			s.awaitCommitted(t, policy.committed)
			m.leave(t)
			if lines, distinct, err := s.effects(t.Context()); err != nil || lines != policy.effects || distinct != policy.effects {
				t.Errorf("%d events took effect %d times, %v; want %d once", distinct, lines, err, policy.effects)
			}
		})
	}
}

// Records expire before anybody has read them: with a policy the member goes on with what is left.
func TestExpiredRecords(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 1)
		b.Write(t, s.topic, events(0, 50, 1)...)
		m := s.start(t, nil)
		s.awaitCommitted(t, 50)
		m.leave(t)
		b.Write(t, s.topic, events(50, 50, 1)...)
		b.DeleteRecords(t, s.topic, 0, 80)
		if err := s.start(t, nil).wait(t); !errors.Is(err, consume.ErrOffsetOutOfRange) || !strings.Contains(err.Error(), "30 offsets have expired unread") {
			t.Errorf("Run returned %v", err)
		}
		m = s.start(t, func(c *settings) { c.OnOutOfRange = consume.SkipToEarliest })
		s.awaitCommitted(t, 100)
		m.leave(t)
		s.verify(t, 70)
	})
}

// Topics that match a pattern are consumed, also those that come later; others are not.
func TestTopicPattern(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 1)
		create := func(name string, first int) {
			t.Helper()
			s.create(t, name, 1)
			b.Write(t, name, events(first, 10, 1)...)
		}
		prefix := broker.Name(t)
		create(prefix+".a", 0)
		create("other."+prefix, 100)
		m := s.start(t, func(c *settings) {
			c.Topics, c.TopicPattern = nil, regexp.MustCompile("^"+regexp.QuoteMeta(prefix)+`\.`)
		})
		s.awaitEffects(t, 10)
		create(prefix+".b", 10)
		s.awaitEffects(t, 20)
		m.leave(t)
		if lines, distinct, err := s.effects(t.Context()); err != nil || lines != 20 || distinct != 20 {
			t.Errorf("%d events took effect %d times, %v; want 20 once", distinct, lines, err)
		}
	})
}

// A topic that is deleted and created again under the eyes of a member: the member notices,
// although fetching goes on without an error.
func TestTopicRecreatedWhileConsumed(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 10, 1)...)
	m := s.start(t, nil)
	s.awaitCommitted(t, 10)
	s.broker.DeleteTopic(t, s.topic)
	s.create(t, s.topic, 1)
	s.broker.Write(t, s.topic, events(10, 30, 1)...)
	if err := m.wait(t); !errors.Is(err, consume.ErrOffsetOutOfRange) || !strings.Contains(err.Error(), "created again") {
		t.Errorf("Run returned %v", err)
	}
}
