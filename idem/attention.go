package idem

import (
	"context"

	"github.com/nova-events/idempotent-consumer/db"
)

// Attention reports which of the owners have something to do: their checkpoint, or a lane's, is not where
// the owner has left it (call Verify), or a dead letter of their partition is to be replayed (call
// NextDeadLetter). It takes two statements, however many idle partitions there are. It may be called while
// the owners are used. The lanes of an owner count as owners of their own.
func (g *Guard) Attention(ctx context.Context, owners []*Owner) ([]bool, error) {
	type place struct {
		topic     string
		partition int32
		lane      int32
	}
	var (
		tokens  []string
		letters db.DeadLetterDueParams
		left    = make([]int64, len(owners)) // Before the rows are read: the owners go on meanwhile.
	)
	letters.ConsumerID = g.consumer
	for i, o := range owners {
		left[i] = o.Next()
		if o.fenced() && o.lane == 0 {
			tokens = append(tokens, o.Token())
		}
		if o.lane == 0 {
			letters.Topics, letters.Partitions = append(letters.Topics, o.partition.Topic), append(letters.Partitions, o.partition.Number)
		}
	}
	stands := make(map[place]int64, len(owners))
	if len(tokens) > 0 {
		err := g.onPool(ctx, func(conn db.DBTX) error {
			rows, err := g.queries.CheckpointReadOwned(ctx, conn, db.CheckpointReadOwnedParams{ConsumerID: g.consumer, OwnerTokens: tokens})
			for _, r := range rows {
				stands[place{r.Topic, r.Partition, r.Lane}] = r.NextOffset
			}

			return err
		})
		if err != nil {
			return nil, err
		}
	}
	due := make(map[place]bool)
	err := g.onPool(ctx, func(conn db.DBTX) error {
		rows, err := g.queries.DeadLetterDue(ctx, conn, letters)
		for _, r := range rows {
			due[place{r.Topic, r.Partition, 0}] = true
		}

		return err
	})
	if err != nil {
		return nil, err
	}
	need := make([]bool, len(owners))
	for i, o := range owners {
		p := place{o.partition.Topic, o.partition.Number, o.lane}
		next, known := stands[p]
		need[i] = due[p] || o.fenced() && (!known || next < left[i] || next > o.sent.Load())
	}

	return need, nil
}
