package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// What was committed to Kafka and then lost by PostgreSQL is read again: whether the member ran on
// or was started again, each event takes effect once, and the rewind is told.
func TestDatabaseThatLosesCommits(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		eachLoss(t, func(t *testing.T, database, mode string, restart bool) {
			t.Helper()
			const partitions = 2
			l := setupLossy(t, b, database, partitions)
			start := func() *member {
				return l.start(t, func(c *settings) { modes[mode](c, record) })
			}
			b.Write(t, l.topic, events(0, 20, partitions)...)
			m := start()
			l.awaitCommitted(t, 20)
			l.awaitCheckpoints(t, 20)
			l.holds(t)
			b.Write(t, l.topic, events(20, 20, partitions)...)
			l.awaitCommitted(t, 40)
			if restart {
				m.leave(t)
			}
			l.loses(t, func() { b.Write(t, l.topic, events(40, 4, partitions)...) })
			b.Write(t, l.topic, events(44, 6, partitions)...)
			if restart {
				if missing := l.missing(t, 40); len(missing) != 20 {
					t.Fatalf("the database has lost %v, want 20 events", missing)
				}
				m = start()
			}
			l.awaitEffects(t, 50)
			l.awaitCommitted(t, 50)
			m.leave(t)
			l.verifyIn(t, mode, 50)
			l.verifyRewound(t, partitions)
		})
	})
}

// Nothing comes after the loss that would make the member look at its checkpoint.
func TestDatabaseThatLosesCommitsOfIdlePartition(t *testing.T) {
	t.Parallel()
	for mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := broker.InProcess(t)
			l := setupLossy(t, b, "failover", 1)
			m := l.start(t, func(c *settings) { modes[mode](c, record) })
			b.Write(t, l.topic, events(0, 20, 1)...)
			l.awaitCommitted(t, 20)
			l.holds(t)
			b.Write(t, l.topic, events(20, 20, 1)...)
			l.awaitCommitted(t, 40)
			l.loses(t, func() {})
			l.awaitEffects(t, 40)
			m.leave(t)
			l.verifyIn(t, mode, 40)
			l.verifyRewound(t, 1)
		})
	}
}

// Lanes have done with records over which the checkpoint is not advanced yet: it stands in the database
// where the member has left it, but the effects behind it are lost.
func TestLanesLoseCommitsAheadOfTheCheckpoint(t *testing.T) {
	t.Parallel()
	for database := range lossyDatabases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			b := broker.InProcess(t)
			l := setupLossy(t, b, database, 1)
			held := make(chan struct{})
			m := l.start(t, func(c *settings) {
				c.CommitInterval = time.Hour // The checkpoint follows when records come.
				modes["lanes"](c, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
					if m.Offset >= 10 {
						select {
						case <-held:
						case <-ctx.Done():
						}
					}

					return record(ctx, tx, m)
				})
			})
			b.Write(t, l.topic, events(0, 30, 1)...)
			l.awaitEffects(t, 10)
			l.holds(t)
			close(held)
			l.awaitEffects(t, 30)
			l.loses(t, func() {})
			b.Write(t, l.topic, events(30, 10, 1)...)
			l.awaitEffects(t, 40)
			m.leave(t)
			l.verifyIn(t, "lanes", 40)
			l.verifyRewound(t, 1)
		})
	}
}

// Transactions are under way, batches full and lanes busy when the standby is cut off and when the
// primary dies.
func TestFailoverUnderLoad(t *testing.T) {
	t.Parallel()
	for mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			const partitions, each = 4, 1_000
			b := broker.InProcess(t)
			l := setupLossy(t, b, "failover", partitions)
			// Pauses keep the members busy until the primary dies.
			m := l.start(t, func(c *settings) {
				c.Batch.Size = 20
				modes[mode](c, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
					letPass(200 * time.Microsecond)

					return record(ctx, tx, m)
				})
			})
			b.Write(t, l.topic, events(0, each, partitions)...)
			l.awaitEffects(t, each/2)
			l.holds(t)
			b.Write(t, l.topic, events(each, each, partitions)...)
			l.awaitEffects(t, each+each/4)
			l.loses(t, func() { b.Write(t, l.topic, events(2*each, each, partitions)...) })
			l.awaitEffects(t, 3*each)
			l.awaitCommitted(t, 3*each)
			m.leave(t)
			l.verifyIn(t, mode, 3*each)
			if len(l.rewound) == 0 { // A partition may have had nothing to lose.
				t.Error("no rewind was told")
			}
		})
	}
}

// The member itself came after the standby was cut off: that it owns the partition is lost, too.
func TestDatabaseThatLosesTheOwner(t *testing.T) {
	t.Parallel()
	for mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := broker.InProcess(t)
			l := setupLossy(t, b, "failover", 1)
			start := func() *member {
				return l.start(t, func(c *settings) { modes[mode](c, record) })
			}
			b.Write(t, l.topic, events(0, 20, 1)...)
			m := start()
			l.awaitCommitted(t, 20)
			m.leave(t)
			l.holds(t)
			m = start()
			b.Write(t, l.topic, events(20, 20, 1)...)
			l.awaitCommitted(t, 40)
			l.loses(t, func() { b.Write(t, l.topic, events(40, 10, 1)...) })
			l.awaitEffects(t, 50)
			l.awaitCommitted(t, 50)
			m.leave(t)
			l.verifyIn(t, mode, 50)
			l.verifyRewound(t, 1)
		})
	}
}

// sick is a handler that fails for some offsets until they are healed.
type sick struct {
	mu      sync.Mutex
	offsets []int64
}

func (s *sick) heal(offset int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offsets = slices.DeleteFunc(s.offsets, func(o int64) bool { return o == offset })
}

func (s *sick) handle(ctx context.Context, tx pgx.Tx, m consume.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.offsets, m.Offset) {
		return errPoison
	}

	return record(ctx, tx, m)
}

// Dead letters, parked records and replays are lost with the effects and come again: a letter
// that was replayed is open again, one that was stored is stored anew, and each record takes
// effect once.
func TestDatabaseThatLosesDeadLetters(t *testing.T) {
	t.Parallel()
	eachLoss(t, func(t *testing.T, database, mode string, restart bool) {
		t.Helper()
		b := broker.InProcess(t)
		l := setupLossy(t, b, database, 1)
		parks := mode != "lanes"
		handler := sick{offsets: []int64{1, 22}}
		start := func() *member {
			return l.start(t, func(c *settings) {
				c.Failure.Retry.MaxAttempts, c.Failure.ParkKeys = 1, parks
				modes[mode](c, handler.handle)
			})
		}
		records := events(0, 50, 1)
		for i := range records {
			records[i].Key = []byte{"abcd"[i%4]}
		}
		b.Write(t, l.topic, records[:20]...)
		m := start()
		l.awaitCommitted(t, 20)
		l.awaitCheckpoints(t, 20)
		l.awaitLetters(t, 20, parks, "open", 1)
		l.holds(t)

		// The letter is replayed, with those parked behind it, and another one is stored.
		handler.heal(1)
		l.askForReplay(t)
		l.awaitLetters(t, 20, parks, "replayed", 1)
		b.Write(t, l.topic, records[20:40]...)
		l.awaitCommitted(t, 40)
		if restart {
			m.leave(t)
		}
		l.loses(t, func() { b.Write(t, l.topic, records[40:45]...) })
		b.Write(t, l.topic, records[45:]...)
		if restart {
			m = start()
		}
		l.awaitLetters(t, 50, parks, "open", 1, 22)
		l.awaitCommitted(t, 50)

		handler.heal(22)
		l.askForReplay(t)
		l.awaitEffects(t, 50)
		l.awaitLetters(t, 50, parks, "replayed", 1, 22)
		m.leave(t)
		l.verifyOnce(t, 50)
		if parks {
			l.verifyOrder(t, `"offset" % 4`)
		}
		l.verifyRewound(t, 1)
	})
}

// awaitLetters waits until the letters among the first n records are those at the offsets and, if
// keys are parked, those of the same key behind them: four keys take turns. All are replayed, or
// those at the offsets are open and the others parked.
func (s *bench) awaitLetters(t *testing.T, n int64, parks bool, state string, offsets ...int64) {
	t.Helper()
	var want []string
	for _, first := range offsets {
		want = append(want, fmt.Sprint(first, " ", state))
		for follower := first + 4; parks && follower < n; follower += 4 {
			want = append(want, fmt.Sprint(follower, " ", strings.Replace(state, "open", "parked", 1)))
		}
	}
	slices.Sort(want)
	var got []string
	defer func() {
		if t.Failed() {
			t.Logf("letters %q, want %q", got, want)
		}
	}()
	until(t, fmt.Sprintf("letters at %v to be %s", offsets, state), func() bool {
		rows, err := s.pool.Query(t.Context(), `SELECT concat(record_offset, ' ', state) FROM idem.dead_letters`)
		if err != nil {
			return false
		}
		got, err = pgx.CollectRows(rows, pgx.RowTo[string])
		slices.Sort(got)

		return err == nil && slices.Equal(got, want)
	})
}

// What PostgreSQL has lost and Kafka no longer has is lost: that is said, and never passed over
// without a policy.
func TestLostCommitsOfExpiredRecords(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]bool{"running": false, "restarted": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := broker.InProcess(t)
			l := setupLossy(t, b, "failover", 1)
			start := func(policy consume.OutOfRangePolicy) *member {
				return l.start(t, func(c *settings) { c.OnOutOfRange = policy })
			}
			b.Write(t, l.topic, events(0, 20, 1)...)
			m := start(consume.FailOutOfRange)
			l.awaitCommitted(t, 20)
			l.holds(t)
			b.Write(t, l.topic, events(20, 20, 1)...)
			l.awaitCommitted(t, 40)
			if restart {
				m.leave(t)
			}
			l.loses(t, func() { b.DeleteRecords(t, l.topic, 0, 30) })
			b.Write(t, l.topic, events(40, 10, 1)...)
			if restart {
				m = start(consume.FailOutOfRange)
			}
			if err := m.wait(t); !errors.Is(err, consume.ErrOffsetOutOfRange) || !strings.Contains(err.Error(), "offset 20") {
				t.Errorf("Run returned %v, want ErrOffsetOutOfRange at offset 20", err)
			}
			l.verifyRewound(t, 1)

			m = start(consume.SkipToEarliest)
			l.awaitEffects(t, 40)
			l.awaitCommitted(t, 50)
			m.leave(t)
			l.verify(t, 40)
		})
	}
}

// Without checkpoints a member cannot know, but it says so if it was a failover or a crash.
func TestLossIsSuspectedWithoutCheckpoints(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	l := setupLossy(t, b, "failover", 1)
	keyed := func(h *heard) func(*settings) {
		return func(c *settings) { h.config(c); c.Mode = consume.ByEventID }
	}
	served := *l.bench
	served.pool = l.service
	b.Write(t, l.topic, events(0, 10, 1)...)
	for _, lose := range []bool{false, true} {
		var h heard
		if lose {
			l.holds(t)
			l.loses(t, func() {})
		}
		m := served.start(t, keyed(&h))
		served.awaitCommitted(t, 10)
		until(t, "the member to have its partition", func() bool { return h.assignments() == 1 })
		m.leave(t)
		if h.logged("may be lost") != lose {
			t.Errorf("after a loss %v it said\n%s", lose, h.log.String())
		}
	}
}
