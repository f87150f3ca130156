package ops

import (
	"context"
	"time"
)

// Checkpoint says how far a consumer has processed a partition: all records before NextOffset have taken
// effect.
type Checkpoint struct {
	Consumer   string    `json:"consumer"`
	Topic      string    `json:"topic"`
	Partition  int32     `json:"partition"`
	NextOffset int64     `json:"next_offset"`
	Epoch      int64     `json:"epoch"` // grows with each owner and each reset
	AcquiredAt time.Time `json:"acquired_at"`
	Owner      *string   `json:"owner"`    // host and process of the latest owner; nil if unknown
	TopicID    *string   `json:"topic_id"` // nil if Kafka's id of the topic is not known
}

// Checkpoints lists the checkpoints of a consumer and a topic, by consumer, topic and partition. An empty
// name means all.
func (c *Client) Checkpoints(ctx context.Context, consumer, topic string) ([]Checkpoint, error) {
	if consumer != "" {
		if _, err := c.consumer(ctx, consumer); err != nil {
			return nil, err
		}
	}
	rows, err := c.queries.CheckpointList(ctx, c.conn)
	if err != nil {
		return nil, c.failed(ctx, "list the checkpoints", err)
	}
	list := []Checkpoint{}
	for _, row := range rows {
		if consumer != "" && row.Consumer != consumer || topic != "" && row.Topic != topic {
			continue
		}
		checkpoint := Checkpoint{
			Consumer: row.Consumer, Topic: row.Topic, Partition: row.Partition, NextOffset: row.NextOffset,
			Epoch: row.Epoch, AcquiredAt: utc(row.AcquiredMicros), Owner: row.Owner,
		}
		if row.TopicID.Valid {
			id := row.TopicID.UUID.String()
			checkpoint.TopicID = &id
		}
		list = append(list, checkpoint)
	}

	return list, nil
}
