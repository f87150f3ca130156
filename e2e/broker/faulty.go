package broker

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/internal/apachekafka"
)

// Faulty is a cluster whose brokers a test can kill and start again. It is never the one that
// IDEM_TEST_KAFKA names: that is not ours to kill.
type Faulty struct {
	*Broker

	nodes nodes
}

// nodes are the brokers of a cluster. They keep their addresses and their data.
type nodes interface {
	Kill(ids ...int) // all of them if no ids are given, here and below
	Recover(ctx context.Context, ids ...int) error
	Restart(ctx context.Context, ids ...int) error
}

// EachFaulty runs a test with a cluster of each kind, as the subtests inprocess and
// apachekafka. The number of brokers is 1 or 3.
func EachFaulty(t *testing.T, brokers int, test func(t *testing.T, c *Faulty)) {
	t.Helper()
	t.Run("inprocess", func(t *testing.T) {
		t.Parallel()
		if brokers == 1 {
			test(t, persistent(t))
		} else {
			test(t, removable(t, brokers))
		}
	})
	t.Run("apachekafka", func(t *testing.T) {
		t.Parallel()
		if brokers == 1 {
			test(t, ownKafka(t))
		} else {
			test(t, ThreeKafkas(t))
		}
	})
}

// three returns the cluster of three that the tests of this process share. It takes long to
// start.
var three = sync.OnceValues(func() (*apachekafka.Cluster, error) { return startKept(3) })

// threeInUse is locked by the test that kills brokers of it.
var threeInUse sync.Mutex

// ThreeKafkas returns an Apache Kafka of three brokers, for this test alone until it ends.
func ThreeKafkas(t testing.TB) *Faulty {
	t.Helper()
	threeInUse.Lock()
	t.Cleanup(threeInUse.Unlock)
	cluster, err := three()
	skipWithoutKafka(t, err)

	return newFaulty(t, cluster)
}

// ownKafka starts an Apache Kafka of one broker, which ends with the test.
func ownKafka(t testing.TB) *Faulty {
	t.Helper()
	cluster, err := startKafka(1)
	skipWithoutKafka(t, err)
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})

	return newFaulty(t, cluster)
}

// Secure starts an Apache Kafka of one broker, which ends with the test, and returns where it listens for TLS and SCRAM,
// too; see apachekafka.Config.
func Secure(t testing.TB, keyStore []byte) (b *Broker, addrs []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	cluster, err := apachekafka.Start(ctx, apachekafka.Config{Settings: impatient, KeyStore: keyStore})
	skipWithoutKafka(t, err)
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})

	return newBroker(t, cluster.Addrs(), kafkaMinSession), cluster.SecureAddrs()
}

func newFaulty(t testing.TB, cluster *apachekafka.Cluster) *Faulty {
	t.Helper()

	return &Faulty{Broker: newBroker(t, cluster.Addrs(), kafkaMinSession), nodes: cluster}
}

// skipWithoutKafka skips the test where Apache Kafka cannot be had: on a developer's machine
// without Java or Maven.
func skipWithoutKafka(t testing.TB, err error) {
	t.Helper()
	needsInstall := errors.Is(err, apachekafka.ErrNoJava) || errors.Is(err, apachekafka.ErrNoMaven)
	if needsInstall && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Kill ends a broker by SIGKILL, or cuts an in-process one off. When the test ends it runs again.
func (c *Faulty) Kill(t testing.TB, id int) {
	t.Helper()
	t.Cleanup(func() { c.Recover(t, id) })
	c.nodes.Kill(id)
}

// Recover starts a broker again that was killed, and waits until it has all its data.
func (c *Faulty) Recover(t testing.TB, id int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), startTimeout)
	defer cancel()
	if err := c.nodes.Recover(ctx, id); err != nil {
		t.Fatal(err)
	}
}

// Restart stops a broker in good order and starts it again.
func (c *Faulty) Restart(t testing.TB, id int) {
	t.Helper()
	if err := c.nodes.Restart(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

// Leader returns the id of the broker that leads a partition.
func (b *Broker) Leader(t testing.TB, topic string, partition int) (id int) {
	t.Helper()
	b.retry(t, "find the leader", func(ctx context.Context) error {
		metadata, err := b.Client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
		if err != nil {
			return err
		}
		for _, p := range metadata.Topics[0].Partitions {
			if p.ID == partition && p.Error == nil {
				id = p.Leader.ID

				return nil
			}
		}

		return kafka.LeaderNotAvailable
	})

	return id
}

// Coordinator returns the id of the broker that coordinates a group.
func (b *Broker) Coordinator(t testing.TB, group string) (id int) {
	t.Helper()
	b.retry(t, "find the coordinator", func(ctx context.Context) error {
		response, err := b.Client.FindCoordinator(ctx, &kafka.FindCoordinatorRequest{
			Addr: b.Client.Addr, Key: group, KeyType: kafka.CoordinatorKeyTypeConsumer,
		})
		if err != nil {
			return err
		}
		if response.Error == nil {
			id = response.Coordinator.NodeID
		}

		return response.Error
	})

	return id
}
