package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

// Times that mean the ends of a log.
const (
	firstOffset = -2
	lastOffset  = -1
)

// Ends asks the leaders of partitions for two offsets of each log: of the first record, and after the last.
func (c *Client) Ends(ctx context.Context, topic string, partitions ...int32) (first, last map[int32]int64, err error) {
	found, err := c.offsets(ctx, topic, partitions, firstOffset, lastOffset)
	if err != nil {
		return nil, nil, err
	}

	return found[0], found[1], nil
}

// Since asks them for the offset of the first record whose time is at or later; -1 where there is none.
func (c *Client) Since(ctx context.Context, topic string, at time.Time, partitions ...int32) (map[int32]int64, error) {
	found, err := c.offsets(ctx, topic, partitions, at.UnixMilli())
	if err != nil {
		return nil, err
	}

	return found[0], nil
}

// offsets returns those of all partitions at each of the times.
func (c *Client) offsets(ctx context.Context, topic string, partitions []int32, times ...int64) ([]map[int32]int64, error) {
	if err := c.starting.take(ctx); err != nil {
		return nil, err
	}
	defer c.starting.pass()
	byLeader := make(map[int32][]int32)
	for _, partition := range partitions {
		leader, err := c.Leader(ctx, topic, int(partition))
		if err != nil {
			return nil, err
		}
		byLeader[leader] = append(byLeader[leader], partition)
	}
	found := make([]map[int32]int64, len(times))
	for i := range times {
		found[i] = make(map[int32]int64, len(partitions))
	}
	for leader, led := range byLeader {
		for i, at := range times {
			if err := c.listOffsets(ctx, leader, topic, led, at, found[i]); err != nil {
				return nil, err
			}
		}
	}

	return found, nil
}

// listOffsets adds the offsets of all partitions at a time.
func (c *Client) listOffsets(ctx context.Context, leader int32, topic string, partitions []int32, at int64, offsets map[int32]int64) error {
	wrong := func(err error) error {
		for _, partition := range partitions {
			c.Moved(topic, int(partition), leader, err)
		}

		return err
	}
	address, err := c.addressOf(leader)
	if err != nil {
		return wrong(err)
	}
	a, err := c.Ask(ctx, address, RequestTimeout, wire.Request{
		Key: protocol.ListOffsets, Oldest: 4, Newest: 4,
		Encode: func(w *wire.Writer, _ int16) {
			w.Int32(consumer)
			w.Bytes(0) // records of open transactions count, too
			w.Count(1) // topics
			w.Text(topic)
			w.Count(len(partitions))
			for _, partition := range partitions {
				w.Int32(partition)
				w.Int32(-1) // leader epoch: not known
				w.Int64(at)
			}
		},
	})
	if err != nil {
		return wrong(err)
	}
	found, err := decodeOffsets(&a.Reader)
	if err != nil {
		return wrong(err)
	}
	for _, partition := range partitions {
		offset, ok := found[partition]
		if !ok {
			return wrong(fmt.Errorf("%w: partition %d of topic %q is missing", wire.ErrMalformed, partition, topic))
		}
		offsets[partition] = offset
	}

	return nil
}

func decodeOffsets(r *wire.Reader) (map[int32]int64, error) {
	const leastTopic, leastPartition = 6, 26
	r.Int32() // throttle time
	found := make(map[int32]int64)
	for range r.Count(leastTopic) {
		topic := r.Text()
		for range r.Count(leastPartition) {
			number, code := r.Int32(), r.Int16()
			r.Int64() // time
			found[number] = r.Int64()
			r.Int32() // leader epoch
			if code != 0 && !r.Bad {
				return nil, fmt.Errorf("%s/%d: %w", topic, number, kafka.Error(code))
			}
		}
	}
	if r.Bad {
		return nil, fmt.Errorf("%w: the offsets end too early", wire.ErrMalformed)
	}

	return found, nil
}
