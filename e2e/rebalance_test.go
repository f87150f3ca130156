package e2e_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/internal/pgserver"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// Members join and leave while a stream with duplicates comes in. (The demo does the same to
// processes that are killed.)
func TestChurn(t *testing.T) {
	t.Parallel()
	const partitions, distinct, duplicates = 8, 8_000, 800
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, partitions)
		b.Write(t, s.topic, append(events(0, distinct, partitions), events(0, duplicates, partitions)...)...)

		stopped := make(chan struct{})
		var watcher sync.WaitGroup
		watcher.Go(func() { s.watchOffsets(t, stopped) })
		members := []*member{s.start(t, nil), s.start(t, nil)}
		random := rand.New(rand.NewPCG(1, 2))
		for share := 1; share <= 8; share++ {
			s.awaitEffects(t, distinct*share/10)
			if share%2 == 1 {
				members = append(members, s.start(t, nil))
			} else {
				i := random.IntN(len(members))
				members[i].leave(t)
				members = append(members[:i], members[i+1:]...)
			}
		}
		s.awaitCommitted(t, distinct+duplicates)
		close(stopped)
		watcher.Wait()
		for _, m := range members {
			m.leave(t)
		}
		s.verify(t, distinct)
	})
}

// watchOffsets checks until it is stopped that the group never goes back.
func (s *bench) watchOffsets(t *testing.T, stopped <-chan struct{}) {
	t.Helper()
	latest := map[int]int64{}
	committed, closeReader := s.broker.CommittedReader(t, s.group, s.topic)
	defer closeReader()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		for partition, offset := range committed() {
			if offset < latest[partition] {
				t.Errorf("partition %d went back from offset %d to %d", partition, latest[partition], offset)
			}
			latest[partition] = offset
		}
		select {
		case <-poll.C:
		case <-stopped:
			if len(latest) == 0 {
				t.Error("no offsets were seen")
			}

			return
		}
	}
}

// A member that was slow to give its partition back has something to commit that is old, now
// that its successor is far ahead: right away, or later, as a member of the next generation.
// The group must not go back.
func TestLateCommitIsRefused(t *testing.T) {
	kafkaGoOnly(t, "the member that is stuck goes on with its heartbeats, and may have the partition again")
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 1)
		b.Write(t, s.topic, events(0, 100, 1)...)
		stuck, release := make(chan struct{}), make(chan struct{})
		slow := s.start(t, func(c *settings) {
			c.CommitInterval = time.Hour
			c.DrainTimeout = 100 * time.Millisecond
			c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
				if m.Offset < 5 {
					return record(ctx, tx, m)
				}
				close(stuck)
				<-ctx.Done()
				// It has to stop, gives the event free, but does not return.
				_ = tx.Conn().Close(context.WithoutCancel(ctx))
				<-release

				return ctx.Err()
			}
		})
		<-stuck
		s.start(t, nil)
		s.awaitCommitted(t, 100)

		close(release)
		s.awaitMembers(t, 2)
		slow.leave(t)
		if got := s.committed(t); got != 100 {
			t.Errorf("the group went back to offset %d", got)
		}
		s.verify(t, 100)
	})
}

// What is in progress when the consumer is told to stop is finished and committed; what takes
// too long is rolled back and left for others.
func TestStopFinishesTheRecordInProgress(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		drain time.Duration
		want  int64
	}{"in time": {200 * time.Millisecond, 6}, "too late": {time.Millisecond, 5}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			s.broker.Write(t, s.topic, events(0, 10, 1)...)
			busy, stopped := make(chan struct{}), make(chan struct{})
			m := s.start(t, func(c *settings) {
				c.DrainTimeout, c.OwnTransactions = test.drain, true
				c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
					if m.Offset == 5 {
						close(busy)
						<-stopped
						if test.drain == time.Millisecond {
							<-ctx.Done()
						}
					}

					return record(ctx, tx, m)
				}
			})
			<-busy
			m.stop()
			close(stopped)
			if err := m.wait(t); err != nil {
				t.Errorf("Run returned %v", err)
			}
			if got := s.committed(t); got != test.want {
				t.Errorf("committed %d records, want %d", got, test.want)
			}
			s.verify(t, int(test.want))
		})
	}
}

// A member that is stopped while it joins does not wait for a group that waits for others.
func TestStopWhileJoining(t *testing.T) {
	eagerOnly(t, "the group is occupied by an eager member")
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 1)
		s.occupy(t)
		m := s.start(t, nil)
		until(t, "the rebalance", func() bool {
			groups, err := b.Client.DescribeGroups(t.Context(), &kafka.DescribeGroupsRequest{GroupIDs: []string{s.group}})

			return err == nil && len(groups.Groups) == 1 && groups.Groups[0].GroupState == "PreparingRebalance"
		})
		m.leaveSoon(t)
	})
}

// The same for one that is stopped just before it joins, and connects only then.
func TestStopBeforeJoining(t *testing.T) {
	eagerOnly(t, "the group is occupied by an eager member")
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.occupy(t)
	asked, stopped := make(chan struct{}, 100), make(chan struct{})
	s.broker.Fake.ControlKey(int16(kmsg.FindCoordinator), func(kmsg.Request) (kmsg.Response, error, bool) {
		s.broker.Fake.KeepControl()
		asked <- struct{}{}
		s.broker.Fake.SleepControl(func() { <-stopped })

		return nil, nil, false //nolint:nilnil // The broker is to answer as ever.
	})
	m := s.start(t, nil)
	<-asked
	m.leaveSoon(t)
	close(stopped)
}

// occupy fills the group with a member that stays but does not rejoin, so that others who join
// have to wait.
func (s *bench) occupy(t *testing.T) {
	t.Helper()
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: s.group, Brokers: s.broker.Addrs, Topics: []string{s.topic}, HeartbeatInterval: 50 * time.Millisecond,
		SessionTimeout: 50 * time.Second, RebalanceTimeout: 50 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = group.Close() })
	generation, err := group.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	generation.Start(func(context.Context) { <-release })
}

// leaveSoon stops a member in order, which must not take as long as joining would.
func (m *member) leaveSoon(t *testing.T) {
	t.Helper()
	began := time.Now()
	m.leave(t)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to stop", took)
	}
}

// PostgreSQL goes away and comes back: the consumer stays in its group and goes on, and the
// outage is no attempt of the handler's.
func TestPostgresOutage(t *testing.T) {
	t.Parallel()
	server, err := pgserver.Start(t.Context(), pgserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	b := broker.InProcess(t)
	dsn := server.DSN("postgres")
	if err := migrate.Up(t.Context(), dsn, schema.DefaultName); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	s := setupIn(t, b, 4, pool)
	const n = 4_000
	b.Write(t, s.topic, events(0, n, 4)...)
	m := s.start(t, func(c *settings) {
		c.Failure.Retry.MaxAttempts = 1
	})
	for share := 1; share <= 3; share++ {
		s.awaitEffects(t, n*share/5)
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.awaitCommitted(t, n)
	if info := b.Fake.GroupInfo(s.group); info == nil || info.Epoch != 1 {
		t.Errorf("the group is %+v, want its first generation", info)
	}
	m.leave(t)
	s.verify(t, n)
}
