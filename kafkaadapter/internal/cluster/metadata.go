package cluster

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/nova-events/idempotent-consumer/internal/topics"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

// metadataVersion is the first version of the metadata request whose answer has the ids of topics
// (Kafka 2.8, KIP-516).
const metadataVersion = 10

// Metadata is what a broker says of its cluster.
type Metadata struct {
	topics.Cluster

	brokers map[int32]string   // addresses
	leaders map[string][]int32 // by topic and partition; noLeader: none is known
}

// noLeader means that the leader is not known.
const noLeader = -1

// Metadata asks a broker for its cluster and the topics of these names, or with none for all that the user may
// see. It needs Kafka 2.8.
func (c *Client) Metadata(ctx context.Context, names ...string) (Metadata, error) {
	a, err := c.AskAny(ctx, wire.Request{
		Key: protocol.Metadata, Oldest: metadataVersion, Newest: metadataVersion, Flexible: true,
		Encode: func(w *wire.Writer, _ int16) {
			if len(names) == 0 {
				w.Bytes(0) // null: all topics
			} else {
				w.CompactCount(len(names))
			}
			for _, name := range names {
				w.Bytes(make([]byte, len(uuid.UUID{}))...) // no id
				w.CompactString(name)
				w.NoTags()
			}
			w.Bytes(0, 0, 0) // do not create topics, do not return rights for cluster and topics
			w.NoTags()
		},
	})
	if err != nil {
		return Metadata{}, fmt.Errorf("ask for the topics: %w", err)
	}
	m, err := decodeMetadata(&a.Reader)
	if err != nil {
		return Metadata{}, err
	}
	c.learn(m)

	return m, nil
}

func decodeMetadata(r *wire.Reader) (Metadata, error) {
	const leastBroker, leastTopic = 11, 26
	r.Int32() // throttle time
	m := Metadata{brokers: make(map[int32]string), leaders: make(map[string][]int32)}
	for range r.CompactCount(leastBroker) {
		id, host, port := r.Int32(), r.CompactString(), r.Int32()
		m.brokers[id] = net.JoinHostPort(host, strconv.Itoa(int(port)))
		r.CompactBytes() // rack
		r.Tags()
	}
	m.ID = r.CompactString()
	r.Int32() // controller
	for range r.CompactCount(leastTopic) {
		var t topics.Topic
		if code := r.Int16(); code != 0 {
			t.Err = kafka.Error(code)
		}
		t.Name = r.CompactString()
		copy(t.ID[:], r.Bytes(len(t.ID)))
		t.Internal = r.Bool()
		leaders := readLeaders(r)
		t.Partitions = len(leaders)
		r.Int32() // rights
		r.Tags()
		m.Topics = append(m.Topics, t)
		m.leaders[t.Name] = leaders
	}
	r.Int32() // rights
	r.Tags()
	if r.Bad {
		return Metadata{}, fmt.Errorf("%w: the metadata end too early", wire.ErrMalformed)
	}

	return m, nil
}

// readLeaders returns the leaders of a topic's partitions.
func readLeaders(r *wire.Reader) []int32 {
	const leastPartition, replica = 18, 4
	leaders := make([]int32, r.CompactCount(leastPartition))
	for i := range leaders {
		leaders[i] = noLeader
	}
	for range leaders {
		r.Int16() // error
		number, leader := r.Int32(), r.Int32()
		if number >= 0 && int(number) < len(leaders) { // Brokers answer for all, in any order.
			leaders[number] = leader
		}
		r.Int32()     // leader epoch
		for range 3 { // replicas, those in sync, those offline
			r.Bytes(replica * r.CompactCount(replica))
		}
		r.Tags()
	}

	return leaders
}
