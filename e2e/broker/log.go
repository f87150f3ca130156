package broker

import (
	"context"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Ends returns the first offset of a partition's log and the one after its last.
func (b *Broker) Ends(t testing.TB, topic string, partition int) (first, last int64) {
	t.Helper()
	b.retry(t, "read the ends of the log", func(ctx context.Context) error {
		response, err := b.Client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
			Topics: map[string][]kafka.OffsetRequest{topic: {kafka.FirstOffsetOf(partition), kafka.LastOffsetOf(partition)}},
		})
		if err != nil {
			return err
		}
		ends := response.Topics[topic][0]
		first, last = ends.FirstOffset, ends.LastOffset

		return ends.Error
	})

	return first, last
}

// Log returns the records that a partition's log holds, committed or not. The last one must
// not be a control record.
func (b *Broker) Log(t testing.TB, topic string, partition int) (records []*kgo.Record) {
	t.Helper()
	_, end := b.Ends(t, topic, partition)
	if end == 0 {
		return nil
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		topic: {int32(partition): kgo.NewOffset().AtStart()}, //nolint:gosec // It is a partition.
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), retryTimeout)
	defer cancel()
	for len(records) == 0 || records[len(records)-1].Offset < end-1 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read the log of topic %s: %v", topic, err)
		}
		records = append(records, fetches.Records()...)
	}

	return records
}

// DeleteRecords removes the records of a partition before an offset, as retention does.
func (b *Broker) DeleteRecords(t testing.TB, topic string, partition int, before int64) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ofPartition := kmsg.NewDeleteRecordsRequestTopicPartition()
	ofPartition.Partition, ofPartition.Offset = int32(partition), before //nolint:gosec // It is a partition.
	ofTopic := kmsg.NewDeleteRecordsRequestTopic()
	ofTopic.Topic, ofTopic.Partitions = topic, append(ofTopic.Partitions, ofPartition)
	request := kmsg.NewPtrDeleteRecordsRequest()
	request.Topics, request.TimeoutMillis = append(request.Topics, ofTopic), int32(requestTimeout.Milliseconds()) //nolint:gosec // It fits.
	ctx, cancel := requestContext(t)
	defer cancel()
	if _, err := request.RequestWith(ctx, client); err != nil {
		t.Fatalf("delete records of topic %s: %v", topic, err)
	}
	if first, _ := b.Ends(t, topic, partition); first != before {
		t.Fatalf("the log of topic %s begins at %d, want %d", topic, first, before)
	}
}
