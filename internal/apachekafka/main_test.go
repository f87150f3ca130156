package apachekafka

import (
	"errors"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"github.com/nova-events/idempotent-consumer/internal/await"
)

const topic = "survivors"

func TestMain(m *testing.M) {
	if os.Getenv(envAbandon) != "" {
		startAndWaitToBeKilled()
	}
	goleak.VerifyTestMain(m)
}

// requirePrograms skips the test where a cluster cannot be had: on a developer's machine
// without Java or Maven.
func requirePrograms(t *testing.T) {
	t.Helper()
	_, err := findJava(t.Context())
	if err == nil {
		_, err = install(t.Context(), defaultVersion(), os.Stderr)
	}
	if needsInstall := errors.Is(err, ErrNoJava) || errors.Is(err, ErrNoMaven); needsInstall && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// start starts a cluster with the topic.
func start(t *testing.T, cfg Config) *Cluster {
	t.Helper()
	requirePrograms(t)
	cluster, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})

	response, err := client(t, cluster).CreateTopics(t.Context(), &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: 1, ReplicationFactor: -1}},
	})
	if err == nil {
		err = response.Errors[topic]
	}
	if err != nil {
		t.Fatal(err)
	}

	return cluster
}

func client(t *testing.T, c *Cluster) *kafka.Client {
	t.Helper()
	transport := &kafka.Transport{MetadataTTL: 3 * time.Second} // It is also how long kafka-go waits for them.
	t.Cleanup(transport.CloseIdleConnections)

	return &kafka.Client{Addr: kafka.TCP(c.Addrs()...), Timeout: 10 * time.Second, Transport: transport}
}

func produce(t *testing.T, c *Cluster, value string) {
	t.Helper()
	writer := &kafka.Writer{
		Addr: kafka.TCP(c.Addrs()...), Topic: topic, RequiredAcks: kafka.RequireAll,
		BatchTimeout: time.Millisecond, MaxAttempts: 30, Transport: client(t, c).Transport,
	}
	var err error
	await.Until(t, "the brokers to know the topic", func() bool { // Some hear of it later than others.
		err = writer.WriteMessages(t.Context(), kafka.Message{Value: []byte(value)})

		return !errors.Is(err, kafka.UnknownTopicOrPartition)
	})
	if err = errors.Join(err, writer.Close()); err != nil {
		t.Fatal(err)
	}
}

// consume returns the topic's records up to one. A writer that did not hear from a killed
// broker may have repeated itself; that is left out.
func consume(t *testing.T, c *Cluster, last string) []string {
	t.Helper()
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: c.Addrs(), Topic: topic, MaxWait: 100 * time.Millisecond})
	defer reader.Close() //nolint:errcheck // Nothing is pending.
	var values []string
	for !slices.Contains(values, last) {
		message, err := reader.ReadMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, string(message.Value))
	}

	return slices.Compact(values)
}

func isListening(t *testing.T, addr string) bool {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return false
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}

	return true
}
