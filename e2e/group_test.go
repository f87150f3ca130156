package e2e_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// times counts how often it was said.
func (h *heard) times(text string) int {
	return strings.Count(h.log.String(), text)
}

// assigned is what a member says at the beginning of each generation.
const assigned = "partitions assigned"

// A rolling restart of static members interrupts nobody.
func TestStaticMemberRestartsWithoutRebalance(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		if onFranz() && b.Fake != nil {
			t.Skip("the in-process broker takes a cooperative member that owns nothing yet for one that has changed")
		}
		s := setup(t, b, 4)
		var dynamic, before, after heard
		s.start(t, dynamic.config)
		s.awaitMembers(t, 1)
		static := func(h *heard) *member {
			return s.start(t, func(c *settings) { h.config(c); c.InstanceID = "one" })
		}
		m := static(&before)
		s.awaitMembers(t, 2)
		until(t, "both to have partitions", func() bool { return dynamic.logged("partitions=2") && before.logged("partitions=2") })
		b.Write(t, s.topic, events(0, 40, 4)...)
		s.awaitEffects(t, 40)
		s.awaitMembers(t, 2) // A cooperative group takes two steps.
		generations := dynamic.times(assigned)
		m.leave(t)
		b.Write(t, s.topic, events(40, 40, 4)...)

		m = static(&after)
		s.awaitEffects(t, 80)
		if n := dynamic.times(assigned); n != generations || after.times(assigned) != 1 {
			t.Errorf("the other member began %d generations meanwhile, the static one %d", n-generations, after.times(assigned))
		}
		m.leave(t)
		s.verify(t, 80)
	})
}

func TestSecondProcessOfAnInstanceEndsTheFirst(t *testing.T) {
	classicOnly(t) // Else the second one waits until the first has left.
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 1)
		same := func(c *settings) { c.InstanceID = "one" }
		first := s.start(t, same)
		s.awaitMembers(t, 1)
		s.start(t, same)
		if err := first.wait(t); !refusedWith(err, kafka.FencedInstanceID) || !strings.Contains(err.Error(), "Config.InstanceID") {
			t.Errorf("Run returned %v", err)
		}
		b.Write(t, s.topic, events(0, 10, 1)...)
		s.awaitEffects(t, 10)
	})
}

// The group moves from broker to broker while records come in. The members stay in their generation.
func TestCoordinatorThatMoves(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t, kfake.NumBrokers(3))
	s := setup(t, b, 2)
	var h heard
	m := s.start(t, func(c *settings) {
		h.config(c)
		c.SessionTimeout = 10 * time.Second
	})
	moved := 0
	for n := 10; n <= 100; n += 10 {
		before := b.Coordinator(t, s.group)
		b.Write(t, s.topic, events(n-10, 10, 2)...)
		s.awaitEffects(t, n)
		s.awaitCommitted(t, int64(n))
		b.Fake.RehashCoordinators()
		if b.Coordinator(t, s.group) != before {
			moved++
		}
	}
	m.leave(t)
	if moved == 0 || h.times(assigned) != 1 {
		t.Errorf("the coordinator moved %d times, the member began %d generations\n%s", moved, h.times(assigned), h.log.String())
	}
	s.verify(t, 100)
}

// Kafka 2.8 is the oldest that works. It does not know the latest version of the request to join.
func TestOldestKafka(t *testing.T) {
	classicOnly(t) // Brokers share partitions since Kafka 4.0.
	t.Parallel()
	s := setup(t, broker.InProcess(t, kfake.MaxVersions(kversion.V2_8_0())), 4)
	a, b := s.start(t, nil), s.start(t, func(c *settings) { c.InstanceID = "one" })
	s.awaitMembers(t, 2)
	s.broker.Write(t, s.topic, events(0, 40, 4)...)
	s.awaitEffects(t, 40)
	a.leave(t)
	b.leave(t)
	s.verify(t, 40)
}

// mortal stands between members and a broker. Like brokers whose SASL sessions have ended, it closes a
// connection that has become too old when it is used again.
func mortal(t *testing.T, b *broker.Broker, age time.Duration) (address string, connections *atomic.Int64) {
	t.Helper()
	connections = new(atomic.Int64)
	l := newLiar(t, b, func(_ int16, answer []byte) []byte { return answer })
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // It takes no time.
	if err != nil {
		t.Fatal(err)
	}
	l.false = onWire(t, listener.Addr().String())
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go l.serve(&mortalConn{Conn: client, dies: time.Now().Add(age)})
		}
	}()
	t.Cleanup(func() { _ = listener.Close() })

	return listener.Addr().String(), connections
}

type mortalConn struct {
	net.Conn

	dies time.Time
}

func (c *mortalConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if time.Now().After(c.dies) {
		return 0, net.ErrClosed
	}

	return n, err
}

// No generation ends with the connection, and connections are not made in a storm.
func TestConnectionsThatExpire(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 2)
	address, connections := mortal(t, s.broker, 300*time.Millisecond)
	var h heard
	m := s.start(t, func(c *settings) {
		h.config(c)
		c.Brokers = []string{address}
		c.SessionTimeout = 5 * time.Second
	})
	began := time.Now()
	for n := 10; n <= 100; n += 10 {
		s.broker.Write(t, s.topic, events(n-10, 10, 2)...)
		s.awaitEffects(t, n)
		s.awaitCommitted(t, int64(n))
		until(t, "the connections to be new ones", func() bool { return time.Since(began) > time.Duration(n)*50*time.Millisecond })
	}
	perSecond := float64(connections.Load()) / time.Since(began).Seconds()
	t.Logf("%.0f connections a second", perSecond)
	m.leave(t)
	if h.times(assigned) != 1 || perSecond > 100 {
		t.Errorf("%d generations, %.0f connections a second\n%s", h.times(assigned), perSecond, h.log.String())
	}
	if n := h.times("consumer group:"); n > 4 {
		t.Errorf("it said %d times something of the group\n%s", n, h.log.String())
	}
	s.verify(t, 100)
}

// A transaction is about to commit an offset of the group. Who would start at the offset before it would
// get its records twice.
func TestOffsetInAnOpenTransactionIsWaitedFor(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 1)
		b.Write(t, s.topic, events(0, 20, 1)...)
		client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs...), kgo.TransactionalID(broker.Name(t)),
			kgo.MaxVersions(kversion.V3_0_0())) // Later requests want the ids of topics.
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		end := commitInTransaction(t, client, s, 10)
		var h heard
		m := s.start(t, h.config)
		until(t, "the member to tell", func() bool { return h.logged("a transaction that commits offsets of the group is open") })
		if n, _, err := s.effects(t.Context()); n != 0 || err != nil {
			t.Errorf("%d records took effect, %v", n, err)
		}
		end()
		s.awaitCommitted(t, 20)
		m.leave(t)
		s.verify(t, 10)
	})
}

// commitInTransaction leaves a transaction open in which an offset of the group's only partition is
// committed.
func commitInTransaction(t *testing.T, client *kgo.Client, s *bench, offset int64) (end func()) {
	t.Helper()
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	id, epoch, err := client.ProducerID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	transaction, _ := client.OptValue(kgo.TransactionalID).(string)
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = transaction, id, epoch, s.group
	commit := kmsg.NewPtrTxnOffsetCommitRequest()
	commit.TransactionalID, commit.ProducerID, commit.ProducerEpoch, commit.Group = transaction, id, epoch, s.group
	partition := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	partition.Offset = offset
	commit.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: s.topic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{partition}}}
	if response, err := add.RequestWith(t.Context(), client); err != nil || response.ErrorCode != 0 {
		t.Fatal(response, err)
	}
	until(t, "the offset to be in the transaction", func() bool {
		response, err := commit.RequestWith(t.Context(), client)

		return err == nil && response.Topics[0].Partitions[0].ErrorCode == 0
	})

	return func() {
		request := kmsg.NewPtrEndTxnRequest()
		request.TransactionalID, request.ProducerID, request.ProducerEpoch, request.Commit = transaction, id, epoch, true
		if response, err := request.RequestWith(t.Context(), client); err != nil || response.ErrorCode != 0 {
			t.Fatal(response, err)
		}
	}
}

// A group of KIP-848 takes a member that speaks the classic protocol, as it does in a migration, and its
// coordinator assigns the partitions of both.
func TestGroupOfTheNewProtocolIsShared(t *testing.T) {
	t.Parallel()
	b := broker.ApacheKafka(t)
	s := setup(t, b, 2)
	leave := s.joinByKIP848(t)
	var h heard
	m := s.start(t, h.config)
	until(t, "one partition", func() bool { return h.logged("partitions=1") })
	leave()
	until(t, "both partitions", func() bool { return h.logged("partitions=2") })
	b.Write(t, s.topic, events(0, 20, 2)...)
	s.awaitEffects(t, 20)
	m.leave(t)
}

// A member of KIP-848 that joins a group of the classic protocol makes one of its own of it, and nobody has to be stopped.
func TestGroupIsUpgradedToTheNewProtocol(t *testing.T) {
	t.Parallel()
	b := broker.ApacheKafka(t)
	s := setup(t, b, 2)
	var h heard
	m := s.start(t, h.config)
	until(t, "both partitions", func() bool { return h.logged("partitions=2") })
	s.joinByKIP848(t)
	until(t, "one partition", func() bool { return h.logged("partitions=1") })
	m.leave(t)
}

// joinByKIP848 joins with another client until the test ends or leave is called.
func (s *bench) joinByKIP848(t *testing.T) (leave func()) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.broker.Addrs...), kgo.ConsumerGroup(s.group), kgo.ConsumeTopics(s.topic),
		kgo.ServerSideBalancer(), kgo.DisableAutoCommit())
	if err != nil {
		t.Fatal(err)
	}
	polling, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	others.Go(func() {
		for polling.Err() == nil {
			client.PollFetches(polling)
		}
	})
	leave = func() { stop(); others.Wait(); client.Close() }
	t.Cleanup(leave)
	until(t, "the other member to have joined", func() bool {
		_, generation := client.GroupMetadata()

		return generation > 0
	})

	return leave
}
