package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// openRaw is what one would write by hand for batches, without a library.
func openRaw(ctx context.Context, j *job) (processor, func(), error) {
	consumer, err := registered(ctx, j.pool)

	return rawProcessor(j, func(_ int, events []event, batch *pgx.Batch) freshOf {
		return claimByHand(batch, consumer, events)
	}), nothing, err
}

// openRawCheckpoint is openRaw with the offset in place of the claims.
func openRawCheckpoint(ctx context.Context, j *job) (processor, func(), error) {
	const (
		create  = `INSERT INTO idem.checkpoints (consumer_id, topic, partition) VALUES (0, 'raw', $1)`
		advance = `UPDATE idem.checkpoints SET next_offset = $1 WHERE consumer_id = 0 AND topic = 'raw' AND partition = $2 AND next_offset = $3`
	)
	offsets := make([]int64, j.workers)
	for i := range offsets {
		if _, err := j.pool.Exec(ctx, create, i); err != nil {
			return nil, nil, fmt.Errorf("create a checkpoint: %w", err)
		}
	}

	return rawProcessor(j, func(worker int, events []event, batch *pgx.Batch) freshOf {
		offset := offsets[worker]
		offsets[worker] += int64(len(events))
		batch.Queue(advance, offsets[worker], worker, offset)

		return func(results pgx.BatchResults) ([]event, error) {
			tag, err := results.Exec()
			if err == nil && tag.RowsAffected() != 1 {
				err = errors.New("the checkpoint is elsewhere")
			}

			return events, err
		}
	}), nothing, nil
}

func rawProcessor(j *job, claim func(worker int, events []event, batch *pgx.Batch) freshOf) processor {
	return func(ctx context.Context, worker int, events []event) error {
		_, err := transactByHand(ctx, j.pool, func(batch *pgx.Batch) freshOf { return claim(worker, events, batch) })

		return err
	}
}

// freshOf reads the answer to a claim: which events are to be processed.
type freshOf func(answer pgx.BatchResults) ([]event, error)

// claimByHand queues the claims of events. All UUIDs of the benchmark travel as text, because pgx is slow
// to encode a uuid.UUID.
func claimByHand(batch *pgx.Batch, consumer int64, events []event) freshOf {
	const claim = `INSERT INTO idem.processed_events (consumer_id, key, claim_id)
SELECT $1::bigint, key::uuid, $2::text::uuid FROM unnest($3::text[]) AS key ORDER BY key::uuid
ON CONFLICT DO NOTHING RETURNING key::text`
	keys := make([]string, len(events))
	byKey := make(map[string]event, len(events))
	for i, e := range events {
		keys[i], byKey[e.ID] = e.ID, e
	}
	batch.Queue(claim, consumer, uuid.NewString(), keys)

	return func(answer pgx.BatchResults) ([]event, error) {
		rows, err := answer.Query()
		if err != nil {
			return nil, err
		}
		fresh := make([]event, 0, len(events))
		var key string
		_, err = pgx.ForEachRow(rows, []any{&key}, func() error {
			fresh = append(fresh, byKey[key])

			return nil
		})

		return fresh, err
	}
}

// transactByHand is the transaction of a batch: BEGIN and a claim in one round trip, the business write
// of what the claim says is fresh, and COMMIT.
func transactByHand(ctx context.Context, pool *pgxpool.Pool, claim func(*pgx.Batch) freshOf) (fresh []event, err error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("acquire a connection: %w", err)
	}
	defer conn.Release()
	batch := &pgx.Batch{}
	batch.Queue("BEGIN")
	read := claim(batch)
	answer := conn.SendBatch(ctx, batch)
	if _, err = answer.Exec(); err == nil {
		fresh, err = read(answer)
	}
	if err = errors.Join(err, answer.Close()); err != nil {
		return nil, fmt.Errorf("claim: %w", err)
	}
	if len(fresh) > 0 {
		if _, err := conn.Exec(ctx, businessMany, columnsOf(fresh).args()...); err != nil {
			return nil, fmt.Errorf("business write: %w", err)
		}
	}
	if _, err := conn.Exec(ctx, "COMMIT"); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}

	return fresh, nil
}
