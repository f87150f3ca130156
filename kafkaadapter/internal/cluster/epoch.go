package cluster

import (
	"context"
	"fmt"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

// consumer is sent where another broker would send its id.
const consumer = -1

// EndOffsetForLeaderEpoch asks the leader of a partition where a leader epoch has ended
// (KIP-320): epoch is the largest one of the leader's log that is not greater than leaderEpoch,
// or -1 if there is none, and endOffset is where the next one begins, or the end of the log.
// A consumer that has read beyond endOffset in leaderEpoch has read what the log has lost.
//
// currentLeaderEpoch is what the caller believes the partition's present epoch to be, or -1; a
// broker of another belief refuses with kafka.FencedLeaderEpoch or kafka.UnknownLeaderEpoch. An
// error that the broker reports is a kafka.Error.
func (c *Client) EndOffsetForLeaderEpoch(ctx context.Context, topic string, partition int, currentLeaderEpoch, leaderEpoch int32) (epoch int32, endOffset int64, err error) {
	if err := c.starting.take(ctx); err != nil {
		return 0, 0, err
	}
	defer c.starting.pass()
	request := wire.Request{
		Key: protocol.OffsetForLeaderEpoch, Oldest: 3, Newest: 3,
		Encode: func(w *wire.Writer, _ int16) {
			w.Int32(consumer)
			w.Count(1) // topics
			w.Text(topic)
			w.Count(1)                // partitions
			w.Int32(int32(partition)) //nolint:gosec // The broker has assigned it.
			w.Int32(currentLeaderEpoch)
			w.Int32(leaderEpoch)
		},
	}
	err = c.atLeader(ctx, topic, partition, func(address string) error {
		a, err := c.Ask(ctx, address, RequestTimeout, request)
		if err == nil {
			epoch, endOffset, err = decodeEpoch(&a.Reader)
		}

		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("ask for the end of leader epoch %d: %w", leaderEpoch, err)
	}

	return epoch, endOffset, nil
}

func decodeEpoch(r *wire.Reader) (epoch int32, end int64, err error) {
	r.Int32() // throttle time
	topics := r.Int32()
	r.Text() // topic
	partitions := r.Int32()
	code := r.Int16()
	r.Int32() // partition
	epoch, end = r.Int32(), r.Int64()
	switch {
	case r.Bad || topics != 1 || partitions != 1:
		return 0, 0, fmt.Errorf("%w: the end of a leader epoch of %d topics", wire.ErrMalformed, topics)
	case code != 0:
		return 0, 0, kafka.Error(code)
	}

	return epoch, end, nil
}
