package idem

import (
	"context"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/db"
)

// InsertStarts stores the first offset of each partition of a topic, by the partitions' numbers,
// unless a partition of the topic has a checkpoint already. So members that start at the same time
// agree on which partitions the topic had when the consumer first read it, and a partition that is
// added later is known to be new (KnowsTopic).
func (g *Guard) InsertStarts(ctx context.Context, topic string, topicID uuid.UUID, starts map[int32]int64) error {
	params := db.CheckpointInsertStartsParams{ConsumerID: g.consumer, Topic: topic, TopicID: nullable(topicID)}
	for partition, offset := range starts {
		params.Partitions = append(params.Partitions, partition)
		params.NextOffsets = append(params.NextOffsets, offset)
	}

	return g.onPool(ctx, func(conn db.DBTX) error {
		_, err := g.queries.CheckpointInsertStarts(ctx, conn, params)

		return err
	})
}

// KnowsTopic reports whether a partition of the topic has a checkpoint.
func (g *Guard) KnowsTopic(ctx context.Context, topic string) (bool, error) {
	known := false
	err := g.onPool(ctx, func(conn db.DBTX) error {
		var err error
		known, err = g.queries.CheckpointKnowsTopic(ctx, conn, db.CheckpointKnowsTopicParams{ConsumerID: g.consumer, Topic: topic})

		return err
	})

	return known, err
}
