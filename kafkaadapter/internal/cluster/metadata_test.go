package cluster

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/internal/topics"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

// metadata is an answer with one broker and two topics, the second of which is missing.
func metadata(id uuid.UUID) []byte {
	b := []byte{0, 0, 0, 0}                                      // throttle time
	b = append(b, 2, 0, 0, 0, 1, 2, 'h', 0, 0, 0x23, 0x84, 0, 0) // a broker, without a rack
	b = append(b, 3, 'i', 'd', 0, 0, 0, 1)                       // cluster and controller
	b = append(b, 3)
	b = append(b, 0, 0, 7, 'o', 'r', 'd', 'e', 'r', 's')
	b = append(b, id[:]...)
	b = append(b, 1, 2)                                     // internal, one partition
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9) // its error, number, leader, epoch
	b = append(b, 2, 0, 0, 0, 1, 2, 0, 0, 0, 1, 1, 0)       // replicas
	b = append(b, 0x80, 0, 0, 0, 0)                         // rights
	b = append(b, 0, 3, 5, 'g', 'o', 'n', 'e')              // unknown topic
	b = append(b, make([]byte, 16)...)
	b = append(b, 0, 1, 0x80, 0, 0, 0, 0)

	return append(b, 0x80, 0, 0, 0, 0)
}

func TestDecodeTopics(t *testing.T) {
	t.Parallel()
	id := uuid.New()
	got, err := decodeMetadata(&wire.Reader{Data: metadata(id)})
	want := []topics.Topic{{Name: "orders", ID: id, Internal: true, Partitions: 1}, {Name: "gone", Err: kafka.UnknownTopicOrPartition}}
	if err != nil || got.ID != "id" || got.brokers[1] != "h:9092" || !slices.Equal(got.leaders["orders"], []int32{1}) || !reflect.DeepEqual(got.Topics, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for n := range len(metadata(id)) {
		if _, err := decodeMetadata(&wire.Reader{Data: metadata(id)[:n]}); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
}

func FuzzTopics(f *testing.F) {
	f.Add(metadata(uuid.New()))
	f.Fuzz(func(t *testing.T, body []byte) {
		cluster, err := decodeMetadata(&wire.Reader{Data: body})
		if err == nil && len(cluster.Topics) > len(body) {
			t.Errorf("%d topics out of %d bytes", len(cluster.Topics), len(body))
		}
	})
}
