package fetch

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// epochVersion is the version of the request for the end of a leader epoch that brokers from
// Kafka 2.3 to 4 and later speak. kafka-go does not know the request.
const epochVersion = 3

// EndOffsetForLeaderEpoch asks the leader of a partition where a leader epoch has ended
// (KIP-320): epoch is the largest one of the leader's log that is not greater than leaderEpoch,
// or -1 if there is none, and endOffset is where the next one begins, or the end of the log.
// A consumer that has read beyond endOffset in leaderEpoch has read what the log has lost.
//
// currentLeaderEpoch is what the caller believes the partition's present epoch to be, or -1; a
// broker of another belief refuses with kafka.FencedLeaderEpoch or kafka.UnknownLeaderEpoch. An
// error that the broker reports is a kafka.Error. The transport must know the topic
// (MetadataTopics).
func EndOffsetForLeaderEpoch(ctx context.Context, transport *kafka.Transport, addr net.Addr, clientID, topic string, partition int, currentLeaderEpoch, leaderEpoch int32) (epoch int32, endOffset int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, netTimeout)
	defer cancel()
	message, err := transport.RoundTrip(ctx, addr, &epochRequest{clientID, topic, partition, currentLeaderEpoch, leaderEpoch})
	if err != nil {
		return 0, 0, fmt.Errorf("ask for the end of leader epoch %d: %w", leaderEpoch, err)
	}
	response := message.(*epochResponse) //nolint:forcetypeassert // RawExchange returns nothing else.

	return response.epoch, response.endOffset, nil
}

type epochRequest struct {
	clientID    string
	topic       string
	partition   int
	current, of int32
}

type epochResponse struct {
	epoch     int32
	endOffset int64
}

// ApiKey implements protocol.Message.
func (*epochRequest) ApiKey() protocol.ApiKey { return protocol.OffsetForLeaderEpoch } //nolint:revive // kafka-go's spelling.

// ApiKey implements protocol.Message.
func (*epochResponse) ApiKey() protocol.ApiKey { return protocol.OffsetForLeaderEpoch } //nolint:revive // kafka-go's spelling.

// Broker implements protocol.BrokerMessage: the leader of the partition.
func (r *epochRequest) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	return leaderOf(cluster, r.topic, r.partition)
}

// Required implements protocol.RawExchanger.
func (*epochRequest) Required(map[protocol.ApiKey]int16) bool { return true }

// RawExchange implements protocol.RawExchanger.
func (r *epochRequest) RawExchange(connection io.ReadWriter) (protocol.Message, error) { //nolint:ireturn // kafka-go's interface.
	answer, err := ask(connection, r.encode())
	if err != nil {
		return nil, err
	}

	return decodeEpoch(answer)
}

func (r *epochRequest) encode() []byte {
	const consumer = -1 // in place of a replica's id
	b := beginRequest(protocol.OffsetForLeaderEpoch, epochVersion, r.clientID)
	b = appendInt32(b, consumer)
	b = appendInt32(b, 1) // topics
	b = appendString(b, r.topic)
	b = appendInt32(b, 1)                  // partitions
	b = appendInt32(b, int32(r.partition)) //nolint:gosec // The broker has assigned it.
	b = appendInt32(b, r.current)

	return appendInt32(b, r.of)
}

func appendInt32(b []byte, n int32) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(n)) //nolint:gosec // The sign is part of the field.
}

func decodeEpoch(c *cursor) (*epochResponse, error) {
	c.int32() // throttle time
	topics := c.int32()
	c.bytes(int(c.int16())) // topic
	partitions := c.int32()
	code := c.int16()
	c.int32() // partition
	response := &epochResponse{epoch: c.int32(), endOffset: c.int64()}
	switch {
	case c.bad || topics != 1 || partitions != 1:
		return nil, fmt.Errorf("%w: the end of a leader epoch of %d topics", ErrMalformed, topics)
	case code != 0:
		return nil, kafka.Error(code)
	}

	return response, nil
}
