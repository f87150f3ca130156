package fetch

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// metadataVersion is the first version of the metadata request that tells the ids of topics
// (Kafka 2.8, KIP-516). kafka-go knows only older ones.
const metadataVersion = 10

// Topic is what a broker says of a topic.
type Topic struct {
	Name     string
	ID       uuid.UUID // tells it from another topic of that name, before or after
	Internal bool      // one of Kafka's own
	Err      error     // why nothing more is known

	Partitions int // how many it has
}

// Cluster is what a broker says of its cluster.
type Cluster struct {
	ID     string
	Topics []Topic
}

// Metadata asks a broker for its cluster and the topics of these names, or with none for all that the user may
// see. It needs Kafka 2.8.
func Metadata(ctx context.Context, transport *kafka.Transport, brokers net.Addr, clientID string, names ...string) (Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, netTimeout)
	defer cancel()
	response, err := transport.RoundTrip(ctx, brokers, &topicsRequest{clientID: clientID, names: names})
	if err != nil {
		return Cluster{}, fmt.Errorf("ask for the topics: %w", err)
	}

	return response.(*topicsResponse).cluster, nil //nolint:forcetypeassert // RawExchange returns nothing else.
}

type topicsRequest struct {
	clientID string
	names    []string
}

type topicsResponse struct{ cluster Cluster }

// metadataKey stands for the request in both directions.
const metadataKey = protocol.Metadata

// ApiKey implements protocol.Message.
func (*topicsRequest) ApiKey() protocol.ApiKey { return metadataKey } //nolint:revive // kafka-go's spelling.

// ApiKey implements protocol.Message.
func (*topicsResponse) ApiKey() protocol.ApiKey { return metadataKey } //nolint:revive // kafka-go's spelling.

// Required implements protocol.RawExchanger.
func (*topicsRequest) Required(map[protocol.ApiKey]int16) bool { return true }

// RawExchange implements protocol.RawExchanger.
func (r *topicsRequest) RawExchange(connection io.ReadWriter) (protocol.Message, error) { //nolint:ireturn // kafka-go's interface.
	answer, err := ask(connection, r.encode())
	if err != nil {
		return nil, err
	}
	cluster, err := decodeCluster(answer)
	if err != nil {
		return nil, err
	}

	return &topicsResponse{cluster}, nil
}

// encode makes the request, in the "flexible" form of KIP-482.
func (r *topicsRequest) encode() []byte {
	b := beginRequest(metadataKey, metadataVersion, r.clientID)
	b = append(b, 0) // no tagged fields
	if len(r.names) == 0 {
		b = append(b, 0) // null: all topics
	} else {
		b = binary.AppendUvarint(b, uint64(len(r.names))+1)
	}
	for _, name := range r.names {
		b = append(b, make([]byte, 16)...) // no id
		b = binary.AppendUvarint(b, uint64(len(name))+1)
		b = append(b, name...)
		b = append(b, 0)
	}

	return append(b, 0, 0, 0, 0) // do not create topics, tell no rights of cluster and topics, no tagged fields
}

func decodeCluster(c *cursor) (Cluster, error) {
	c.tags()
	c.int32() // throttle time
	for n := c.count(); n > 0 && !c.bad; n-- {
		c.int32()        // node
		c.compactBytes() // host
		c.int32()        // port
		c.compactBytes() // rack
		c.tags()
	}
	cluster := Cluster{ID: string(c.compactBytes())}
	c.int32() // controller
	for n := c.count(); n > 0 && !c.bad; n-- {
		var t Topic
		if code := c.int16(); code != 0 {
			t.Err = kafka.Error(code)
		}
		t.Name = string(c.compactBytes())
		copy(t.ID[:], c.bytes(len(t.ID)))
		t.Internal = c.int8() != 0
		t.Partitions = c.skipPartitions()
		c.int32() // rights
		c.tags()
		cluster.Topics = append(cluster.Topics, t)
	}
	c.int32() // rights
	c.tags()
	if c.bad {
		return Cluster{}, fmt.Errorf("%w: the metadata end too early", ErrMalformed)
	}

	return cluster, nil
}

// skipPartitions returns how many there are.
func (c *cursor) skipPartitions() int {
	count := c.count()
	for n := count; n > 0 && !c.bad; n-- {
		c.int16()     // error
		c.bytes(12)   // number, leader, its epoch
		for range 3 { // replicas, those in sync, those offline
			c.bytes(4 * c.count())
		}
		c.tags()
	}

	return count
}

// uvarint reads a number of variable length without a sign.
func (c *cursor) uvarint() int {
	n, size := binary.Uvarint(c.rest())
	if size <= 0 || n > 1<<31 {
		c.fail()

		return 0
	}
	c.at += size

	return int(n)
}

// count reads the length of a compact array or string, 0 if it is null. Nothing is that long
// which does not fit into what is left.
func (c *cursor) count() int {
	n := max(c.uvarint()-1, 0)
	if n > c.left() {
		c.fail()

		return 0
	}

	return n
}

func (c *cursor) compactBytes() []byte { return c.bytes(c.count()) }

// tags skips tagged fields.
func (c *cursor) tags() {
	for n := c.uvarint(); n > 0 && !c.bad; n-- {
		c.uvarint()
		c.bytes(c.uvarint())
	}
}
