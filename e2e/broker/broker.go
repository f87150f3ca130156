// Package broker gives tests two Kafka brokers behind one face: the in-process one of
// franz-go, which is fast and can be told to fail, and Apache Kafka, which is the truth.
//
// Every test has an in-process broker of its own. All tests of a process share one Apache
// Kafka: the brokers that IDEM_TEST_KAFKA names (host:port,...), else one that is started at
// first need and ends with the test process. Without Java and Maven its tests are skipped, or
// fail where CI is true. Tests that kill brokers have clusters of their own: see EachFaulty.
package broker

import (
	"context"
	"crypto/rand"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
)

// requestTimeout bounds each request of this package. A busy machine can be slow.
const requestTimeout = 30 * time.Second

// retryTimeout bounds their repetitions.
const retryTimeout = 90 * time.Second

// The shortest session timeouts that members may have.
const (
	fakeMinSession  = 500 * time.Millisecond
	kafkaMinSession = 6 * time.Second // Kafka's default
)

// shortSessions makes the sessions of KIP-848 members short. The broker says how long they are, by default
// 45 s: so long it would take to miss a member that a test kills. It says how often they are to call, too,
// by default less often than such a session allows.
func shortSessions() kfake.Opt { //nolint:ireturn // kfake has no other.
	return kfake.BrokerConfigs(map[string]string{
		"group.consumer.session.timeout.ms":    "2000",
		"group.consumer.heartbeat.interval.ms": "500",
	})
}

// Broker is a broker for one test, or a cluster of them.
type Broker struct {
	Addrs []string // host:port

	// Client is for what the methods do not offer.
	Client *kafka.Client

	// MinSessionTimeout is the shortest session timeout that a member of a group may have.
	MinSessionTimeout time.Duration

	// Fake is the in-process broker, for tests that make it fail; nil if it is Apache Kafka.
	Fake *kfake.Cluster
}

// Each runs a test with both brokers, as the subtests inprocess and apachekafka.
func Each(t *testing.T, test func(t *testing.T, b *Broker)) {
	t.Helper()
	t.Run("inprocess", func(t *testing.T) {
		t.Parallel()
		test(t, InProcess(t))
	})
	t.Run("apachekafka", func(t *testing.T) {
		t.Parallel()
		test(t, ApacheKafka(t))
	})
}

// InProcess starts an in-process broker that is closed when the test ends.
func InProcess(t testing.TB, options ...kfake.Opt) *Broker {
	t.Helper()
	options = append([]kfake.Opt{kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(fakeMinSession), shortSessions()}, options...)
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	b := newBroker(t, cluster.ListenAddrs(), fakeMinSession)
	b.Fake = cluster

	return b
}

// ApacheKafka returns the Apache Kafka that the tests of this process share.
func ApacheKafka(t testing.TB) *Broker {
	t.Helper()
	addrs, err := shared()
	skipWithoutKafka(t, err)

	return newBroker(t, addrs, kafkaMinSession)
}

func newBroker(t testing.TB, addrs []string, minSession time.Duration) *Broker {
	t.Helper()
	transport := &kafka.Transport{MetadataTTL: 3 * time.Second} // It is also how long kafka-go waits for them.
	t.Cleanup(transport.CloseIdleConnections)
	client := &kafka.Client{Addr: kafka.TCP(addrs...), Timeout: requestTimeout, Transport: transport}

	return &Broker{Addrs: addrs, Client: client, MinSessionTimeout: minSession}
}

var unusable = regexp.MustCompile(`[^a-zA-Z0-9_-]+`)

// Name makes a unique name for a topic or a group that tells which test it is of.
func Name(t testing.TB) string {
	t.Helper()
	const maxLength = 200
	name := unusable.ReplaceAllString(t.Name(), "-")

	return name[:min(len(name), maxLength)] + "-" + strings.ToLower(rand.Text()[:8])
}

// retry repeats a request until it succeeds. One that asks for what is moving between brokers,
// or starting, can fail.
func (b *Broker) retry(t testing.TB, what string, request func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), retryTimeout)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		err := request(ctx)
		if err == nil {
			return
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// requestContext is for requests that may be made in a cleanup, too, when the test's own
// context has ended.
func requestContext(t testing.TB) (context.Context, context.CancelFunc) {
	t.Helper()

	return context.WithTimeout(context.WithoutCancel(t.Context()), requestTimeout)
}
