package fetch

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/internal/apachekafka"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/cluster"
)

// startKafka starts an Apache Kafka for one test.
func startKafka(t *testing.T) *apachekafka.Cluster {
	t.Helper()
	cluster, err := apachekafka.Start(t.Context(), apachekafka.Config{})
	if (errors.Is(err, apachekafka.ErrNoJava) || errors.Is(err, apachekafka.ErrNoMaven)) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})

	return cluster
}

// Each restart begins a leader epoch. The broker tells where the one before has ended.
func TestLeaderEpochs(t *testing.T) {
	t.Parallel()
	const topic, client = "t", "test"
	started := startKafka(t)
	addr := kafka.TCP(started.Addrs()...)
	brokers := cluster.New(cluster.Config{Brokers: started.Addrs(), ClientID: client, Dial: new(net.Dialer).DialContext})
	defer brokers.Close()
	brokers.Follow([]string{topic})
	fetcher := New(brokers, client, nil)
	created, err := (&kafka.Client{Addr: addr}).CreateTopics(t.Context(), &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: 1, ReplicationFactor: 1}},
	})
	if err != nil || created.Errors[topic] != nil {
		t.Fatal(err, created)
	}
	retry := func(request func() error) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; {
			err := request()
			if err == nil {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}
	epochAt := func(offset int64) (epoch int32) {
		t.Helper()
		retry(func() error {
			r, err := fetcher.Fetch(t.Context(), Request{Topic: topic, Offset: offset, MaxBytes: 1, MaxWait: time.Second})
			if err == nil {
				epoch = r.LeaderEpoch
			}

			return err
		})

		return epoch
	}
	write := func(n int) {
		epochAt(0) // Once there is a leader. The writer gives up where its transport has heard of none.
		transport := &kafka.Transport{}
		defer transport.CloseIdleConnections()
		w := &kafka.Writer{Addr: addr, Transport: transport, Topic: topic, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond, MaxAttempts: 50}
		defer w.Close() //nolint:errcheck // All is written by then.
		if err := w.WriteMessages(t.Context(), make([]kafka.Message, n)...); err != nil {
			t.Fatal(err)
		}
	}

	write(3)
	former := epochAt(0)
	if err := started.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(2)
	present := epochAt(3)
	if former < 0 || present <= former {
		t.Fatalf("epochs %d and %d", former, present)
	}
	for _, test := range []struct {
		of, epoch int32
		end       int64
	}{{former, former, 3}, {present, present, 5}, {present - 1, former, 3}, {present + 1, -1, -1}} {
		var epoch int32
		var end int64
		retry(func() (err error) {
			epoch, end, err = brokers.EndOffsetForLeaderEpoch(t.Context(), topic, 0, present, test.of)

			return err
		})
		if epoch != test.epoch || end != test.end {
			t.Errorf("epoch %d: told %d, which ends at %d; want %+v", test.of, epoch, end, test)
		}
	}
	_, _, err = brokers.EndOffsetForLeaderEpoch(t.Context(), topic, 0, former, former)
	if !errors.Is(err, kafka.FencedLeaderEpoch) {
		t.Errorf("asked with a former epoch: %v", err)
	}
	_, _, err = brokers.EndOffsetForLeaderEpoch(t.Context(), topic, 7, -1, former)
	if err == nil {
		t.Error("partition 7 was found")
	}
}
