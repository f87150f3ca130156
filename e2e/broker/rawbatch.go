package broker

import (
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// RawBatch is a batch of records as a producer that obeys nobody sends it.
type RawBatch struct {
	Codec   int16 // as in the batch's attributes
	Count   int   // of the records; the offsets are as many
	Records []byte
}

// ProduceRaw writes a batch as it is.
func (b *Broker) ProduceRaw(t testing.TB, topic string, partition int, raw RawBatch) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs...), kgo.MaxVersions(kversion.V2_8_0())) // Later ones name topics by their id.
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ofPartition := kmsg.NewProduceRequestTopicPartition()
	ofPartition.Partition, ofPartition.Records = int32(partition), raw.encode() //nolint:gosec // It is a partition.
	ofTopic := kmsg.NewProduceRequestTopic()
	ofTopic.Topic, ofTopic.Partitions = topic, append(ofTopic.Partitions, ofPartition)
	metadata, err := b.Client.Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		t.Fatal(err)
	}
	request := kmsg.NewPtrProduceRequest()
	request.Acks, request.TimeoutMillis, request.Topics = -1, int32(requestTimeout.Milliseconds()), append(request.Topics, ofTopic) //nolint:gosec // It fits.
	ctx, cancel := requestContext(t)
	defer cancel()
	answer, err := client.Broker(metadata.Topics[0].Partitions[partition].Leader.ID).RetriableRequest(ctx, request)
	if err == nil {
		err = kerr.ErrorForCode(answer.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode) //nolint:forcetypeassert // It answers this request.
	}
	if err != nil {
		t.Fatalf("produce a raw batch: %v", err)
	}
}

func (raw RawBatch) encode() []byte {
	now := time.Now().UnixMilli() // What is old expires.
	batch := kmsg.RecordBatch{
		Magic: 2, Attributes: raw.Codec, LastOffsetDelta: int32(raw.Count - 1), //nolint:gosec // A test has few records.
		FirstTimestamp: now, MaxTimestamp: now,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, PartitionLeaderEpoch: -1,
		NumRecords: int32(raw.Count), Records: raw.Records, //nolint:gosec // A test has few records.
	}
	all := batch.AppendTo(nil)
	const lengthAt, sumAt, summed = 8, 17, 21
	binary.BigEndian.PutUint32(all[lengthAt:], uint32(len(all)-lengthAt-4)) //nolint:gosec // It is small.
	binary.BigEndian.PutUint32(all[sumAt:], crc32.Checksum(all[summed:], crc32.MakeTable(crc32.Castagnoli)))

	return all
}
