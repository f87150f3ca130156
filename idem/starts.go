package idem

import (
	"context"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/db"
)

// TopicStarts says where the partitions of a topic begin.
type TopicStarts struct {
	Topic   string
	TopicID uuid.UUID       // Kafka's id of the topic; uuid.Nil: not known
	Offsets map[int32]int64 // by the partitions' numbers
}

// InsertStarts notes the first offsets of all partitions of topics, unless a partition of one of the topics has a
// checkpoint or a note already. So members that start at the same time agree on which partitions there were when the
// consumer began, and one that is added later is known to be new (Starts).
func (g *Guard) InsertStarts(ctx context.Context, starts ...TopicStarts) error {
	params := db.CheckpointInsertStartsParams{ConsumerID: g.consumer}
	for _, t := range starts {
		id := ""
		if t.TopicID != uuid.Nil {
			id = t.TopicID.String()
		}
		for partition, offset := range t.Offsets {
			params.Topics = append(params.Topics, t.Topic)
			params.TopicIds = append(params.TopicIds, id)
			params.Partitions = append(params.Partitions, partition)
			params.NextOffsets = append(params.NextOffsets, offset)
		}
	}

	return g.onPool(ctx, func(conn db.DBTX) error {
		_, err := g.queries.CheckpointInsertStarts(ctx, conn, params)

		return err
	})
}

// Starts is what the tables know of a consumer's beginning in some topics.
type Starts struct {
	Known  bool  // one of their partitions has a checkpoint or a note
	Noted  bool  // one of them has a note, and nobody has acquired it
	Offset int64 // the note of the partition that was asked for, if nobody has acquired it; -1: there is none
}

// Starts returns what is known of the beginning in topics, and in one of their partitions.
func (g *Guard) Starts(ctx context.Context, p Partition, topics ...string) (Starts, error) {
	var found db.CheckpointStartsRow
	err := g.onPool(ctx, func(conn db.DBTX) error {
		var err error
		found, err = g.queries.CheckpointStarts(ctx, conn, db.CheckpointStartsParams{
			ConsumerID: g.consumer, Topic: p.Topic, Partition: p.Number, TopicID: nullable(p.TopicID), Topics: topics,
		})

		return err
	})

	return Starts{Known: found.Known, Noted: found.Noted, Offset: found.NextOffset}, err
}
