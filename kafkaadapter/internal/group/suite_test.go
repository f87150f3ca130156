package group

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/internal/apachekafka"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/cluster"
)

// patience is how long to wait for what must happen.
const patience = 60 * time.Second

// session is the shortest that Apache Kafka allows by default.
const session = 6 * time.Second

// started is the Apache Kafka that the tests share.
var started *apachekafka.Cluster

var kafkaCluster = sync.OnceValues(func() (c *apachekafka.Cluster, err error) {
	started, err = apachekafka.Start(context.Background(), apachekafka.Config{})

	return started, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if started != nil {
		_ = started.Stop()
	}
	os.Exit(code)
}

// suite is a topic and a group of Apache Kafka.
type suite struct {
	brokers []string
	client  *kafka.Client
	group   string
	topic   string
}

func setup(t *testing.T, partitions int) *suite {
	t.Helper()

	return setupWith(t, kafkaCluster, partitions)
}

// setupWith is setup with another Apache Kafka than the shared one.
func setupWith(t *testing.T, kafkaCluster func() (*apachekafka.Cluster, error), partitions int) *suite {
	t.Helper()
	c, err := kafkaCluster()
	if (errors.Is(err, apachekafka.ErrNoJava) || errors.Is(err, apachekafka.ErrNoMaven)) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	transport := &kafka.Transport{MetadataTTL: 100 * time.Millisecond}
	t.Cleanup(transport.CloseIdleConnections)
	s := &suite{
		brokers: c.Addrs(), client: &kafka.Client{Addr: kafka.TCP(c.Addrs()...), Transport: transport, Timeout: 30 * time.Second},
		group: strings.ToLower(rand.Text()[:8]), topic: strings.ToLower(rand.Text()[:8]),
	}
	s.create(t, kafka.TopicConfig{Topic: s.topic, NumPartitions: partitions, ReplicationFactor: 1})

	return s
}

// create creates topics, and waits until the broker itself knows them: the controller answers earlier, and until
// then the broker refuses their offsets. A broker that has just been started may not be known yet.
func (s *suite) create(t *testing.T, topics ...kafka.TopicConfig) {
	t.Helper()
	names := make([]string, len(topics))
	for i, topic := range topics {
		names[i] = topic.Topic
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	retry := func(request func() error) {
		t.Helper()
		for {
			err := request()
			if err == nil {
				return
			}
			if !backoff.Sleep(ctx, pauses.Pause(1)) {
				t.Fatal(err)
			}
		}
	}
	retry(func() error {
		response, err := s.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: topics})
		if err != nil {
			return err
		}
		for _, err := range response.Errors {
			if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) { // by a try whose answer was lost
				return err
			}
		}

		return nil
	})
	retry(func() error {
		response, err := s.client.Metadata(ctx, &kafka.MetadataRequest{Topics: names})
		if err != nil {
			return err
		}
		for _, topic := range response.Topics {
			if topic.Error != nil {
				return topic.Error
			}
		}

		return nil
	})
}

// tester is a member and the connections that it has.
type tester struct {
	*Member

	t      *testing.T
	suite  *suite
	counts map[string]int // what it is told of the topics

	mu    sync.Mutex
	log   strings.Builder
	conns map[net.Conn]struct{} // that are open

	closed chan struct{} // gets something when one is closed
}

// testConn says when it is closed.
type testConn struct {
	net.Conn

	of *tester
}

// Close implements net.Conn.
func (c *testConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.conns, c)
	c.of.mu.Unlock()
	select {
	case c.of.closed <- struct{}{}:
	default:
	}

	return c.Conn.Close()
}

// connect returns a client, which is closed after the test.
func (s *suite) connect(t *testing.T, dial func(ctx context.Context, network, address string) (net.Conn, error)) *cluster.Client {
	t.Helper()
	client := cluster.New(cluster.Config{Brokers: s.brokers, ClientID: "test", Dial: dial})
	t.Cleanup(client.Close)

	return client
}

func (s *suite) member(t *testing.T, instance string, partitions int) *tester {
	t.Helper()
	m := &tester{t: t, suite: s, conns: make(map[net.Conn]struct{}), closed: make(chan struct{}, 1), counts: map[string]int{s.topic: partitions}}
	m.Member = New(Config{
		Brokers: s.connect(t, m.dial), Group: s.group, InstanceID: instance,
		SessionTimeout: session, RebalanceTimeout: 30 * time.Second, HeartbeatInterval: 50 * time.Millisecond,
		Log:        m.tell,
		Partitions: func(context.Context, []string) (map[string]int, error) { return m.counts, nil },
	})
	t.Cleanup(func() { m.Leave(context.Background()) })

	return m
}

func (m *tester) dial(ctx context.Context, network, address string) (net.Conn, error) {
	plain, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := &testConn{plain, m}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns[conn] = struct{}{}

	return conn, nil
}

func (m *tester) tell(level slog.Level, message string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Fprintln(&m.log, append([]any{level, message}, args...)...)
}

func (m *tester) logged() string {
	m.mu.Lock()
	defer m.mu.Unlock()

	return m.log.String()
}

// join joins and must succeed.
func (m *tester) join() *Generation {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	g, err := m.Join(ctx, []string{m.suite.topic})
	if err != nil {
		m.t.Fatalf("%v\n%s", err, m.logged())
	}

	return g
}

// rejoin joins as soon as the generation is over.
func (m *tester) rejoin(g *Generation) *Generation {
	m.t.Helper()
	_ = m.awaitEnd(g)

	return m.join()
}

// awaitEnd returns why a generation is over.
func (m *tester) awaitEnd(g *Generation) error {
	m.t.Helper()
	select {
	case <-g.Context().Done():
		return g.Err()
	case <-time.After(patience):
		m.t.Fatalf("the generation does not end\n%s", m.logged())

		return nil
	}
}

// die is what a killed process does: it says nothing any more, and its connections are closed.
func (m *tester) die() {
	m.quiet()
	m.id = ""
	m.mu.Lock()
	conns := slices.Collect(maps.Keys(m.conns))
	m.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

// awaitDisconnected returns once all its connections are closed.
func (m *tester) awaitDisconnected() {
	m.t.Helper()
	for timeout := time.After(session / 3); ; {
		m.mu.Lock()
		n := len(m.conns)
		m.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-m.closed:
		case <-timeout:
			m.t.Errorf("%d connections are still open", n)

			return
		}
	}
}

func (m *tester) wants(g *Generation, partitions ...int) {
	m.t.Helper()
	want := map[string][]int{m.suite.topic: partitions}
	if len(partitions) == 0 {
		want = map[string][]int{}
	}
	if !reflect.DeepEqual(g.Assignments, want) {
		m.t.Errorf("it is assigned %v, want %v", g.Assignments, want)
	}
}
