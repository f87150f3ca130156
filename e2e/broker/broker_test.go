package broker_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

func TestMain(m *testing.M) { broker.Main(m) }

func messages(partition int, values ...string) []kafka.Message {
	var all []kafka.Message
	for _, value := range values {
		all = append(all, kafka.Message{
			Partition: partition, Key: []byte("key of " + value), Value: []byte(value),
			Headers: []kafka.Header{{Key: "idempotency_key", Value: []byte("id of " + value)}},
		})
	}

	return all
}

func TestWrittenMessagesAreConsumedAndCommitted(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		topic, group := b.CreateTopic(t, 2, nil), broker.Name(t)
		if got := b.Committed(t, group, topic); len(got) > 0 {
			t.Errorf("committed before anything was consumed: %v", got)
		}
		b.Write(t, topic, append(messages(0, "a", "b"), messages(1, "c")...)...)
		b.Produce(t, topic, messages(1, "d", "e"), kgo.ProducerBatchCompression(kgo.ZstdCompression()))

		reader := kafka.NewReader(kafka.ReaderConfig{
			Brokers: b.Addrs, GroupID: group, Topic: topic, StartOffset: kafka.FirstOffset,
			MaxWait: 100 * time.Millisecond, SessionTimeout: b.MinSessionTimeout,
			HeartbeatInterval: b.MinSessionTimeout / 10, JoinGroupBackoff: 100 * time.Millisecond,
		})
		t.Cleanup(func() {
			if err := reader.Close(); err != nil {
				t.Error(err)
			}
		})
		got := map[int][]string{}
		for range 5 {
			m, err := reader.ReadMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			value := string(m.Value)
			got[m.Partition] = append(got[m.Partition], value)
			if string(m.Key) != "key of "+value || len(m.Headers) != 1 || string(m.Headers[0].Value) != "id of "+value {
				t.Errorf("message %s has key %s and headers %v", value, m.Key, m.Headers)
			}
		}
		want := map[int][]string{0: {"a", "b"}, 1: {"c", "d", "e"}}
		if !maps.EqualFunc(got, want, slices.Equal) {
			t.Errorf("consumed %v, want %v", got, want)
		}
		wantCommitted := map[int]int64{0: 2, 1: 3}
		if got := b.Committed(t, group, topic); !maps.Equal(got, wantCommitted) {
			t.Errorf("committed %v, want %v", got, wantCommitted)
		}
	})
}

func TestTransactions(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		topic := b.CreateTopic(t, 1, nil)
		b.ProduceTransaction(t, topic, kgo.TryAbort, messages(0, "aborted"))
		b.ProduceTransaction(t, topic, kgo.TryCommit, messages(0, "committed"))

		client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs...), kgo.ConsumeTopics(topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		var got []string
		for len(got) == 0 {
			fetches := client.PollFetches(t.Context())
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			for _, record := range fetches.Records() {
				got = append(got, string(record.Value))
			}
		}
		if want := []string{"committed"}; !slices.Equal(got, want) {
			t.Errorf("consumed %q, want %q", got, want)
		}
	})
}
