package kafkafacts

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

// Since returns, for each of some partitions of a topic, the offset of the first record that is not older than a time, or
// the end of the log if all are. The ends are asked for first: what comes meanwhile is not passed over.
func (t Target) Since(ctx context.Context, topic string, partitions []int32, at time.Time) (map[int32]int64, error) {
	ask := t.asker()
	defer ask.transport.CloseIdleConnections()
	since := make(map[int32]int64, len(partitions))
	for _, offsetOf := range []func(partition int) kafka.OffsetRequest{
		kafka.LastOffsetOf, func(partition int) kafka.OffsetRequest { return kafka.TimeOffsetOf(partition, at) },
	} {
		requests := make([]kafka.OffsetRequest, len(partitions))
		for i, number := range partitions {
			requests[i] = offsetOf(int(number))
		}
		response, err := ask.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: requests}})
		if err != nil {
			return nil, fmt.Errorf("ask the brokers: %w", err)
		}
		for _, p := range response.Topics[topic] {
			number := int32(p.Partition) //nolint:gosec // Kafka's own numbers have 32 bits.
			if p.Error != nil {
				return nil, fmt.Errorf("ask for the offsets of %s/%d: %w", topic, number, p.Error)
			}
			if p.LastOffset >= 0 {
				since[number] = p.LastOffset
			}
			for offset := range p.Offsets {
				if offset >= 0 {
					since[number] = offset
				}
			}
		}
	}
	if len(since) != len(partitions) {
		return nil, fmt.Errorf("ask for the offsets of %s: %w", topic, errNoAnswer)
	}

	return since, nil
}
