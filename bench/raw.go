package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// openRaw is what one would write by hand for batches, without a library: claim, business write
// and COMMIT. BEGIN travels with the claim. All UUIDs of the benchmark travel as text, because pgx is
// slow to encode a uuid.UUID.
func openRaw(ctx context.Context, j *job) (processor, func(), error) {
	const claim = `INSERT INTO idem.processed_events (consumer_id, key, claim_id)
SELECT $1::bigint, key::uuid, $2::text::uuid FROM unnest($3::text[]) AS key ORDER BY key::uuid
ON CONFLICT DO NOTHING RETURNING key::text`
	consumer, err := registered(ctx, j.pool)
	if err != nil {
		return nil, nil, err
	}

	return rawProcessor(j, func(_ int, events []event, batch *pgx.Batch) (func(pgx.BatchResults) ([]event, error), error) {
		keys := make([]string, len(events))
		byKey := make(map[string]event, len(events))
		for i, e := range events {
			keys[i], byKey[e.ID] = e.ID, e
		}
		batch.Queue(claim, consumer, uuid.NewString(), keys)

		return func(results pgx.BatchResults) ([]event, error) {
			rows, err := results.Query()
			if err != nil {
				return nil, err //nolint:wrapcheck // It is wrapped below.
			}
			fresh := make([]event, 0, len(events))
			var key string
			_, err = pgx.ForEachRow(rows, []any{&key}, func() error {
				fresh = append(fresh, byKey[key])

				return nil
			})

			return fresh, err //nolint:wrapcheck // It is wrapped below.
		}, nil
	}), nothing, nil
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

	return rawProcessor(j, func(worker int, events []event, batch *pgx.Batch) (func(pgx.BatchResults) ([]event, error), error) {
		offset := offsets[worker]
		offsets[worker] += int64(len(events))
		batch.Queue(advance, offsets[worker], worker, offset)

		return func(results pgx.BatchResults) ([]event, error) {
			tag, err := results.Exec()
			if err == nil && tag.RowsAffected() != 1 {
				err = errors.New("the checkpoint is elsewhere")
			}

			return events, err
		}, nil
	}), nothing, nil
}

// rawProcessor runs the transactions around a claim, which is queued behind BEGIN.
func rawProcessor(j *job, claim func(int, []event, *pgx.Batch) (func(pgx.BatchResults) ([]event, error), error)) processor {
	return func(ctx context.Context, worker int, events []event) error {
		conn, err := j.pool.Acquire(ctx)
		if err != nil {
			return fmt.Errorf("acquire a connection: %w", err)
		}
		defer conn.Release()
		batch := &pgx.Batch{}
		batch.Queue("BEGIN")
		read, err := claim(worker, events, batch)
		if err != nil {
			return err
		}
		results := conn.SendBatch(ctx, batch)
		_, err = results.Exec()
		var fresh []event
		if err == nil {
			fresh, err = read(results)
		}
		if err = errors.Join(err, results.Close()); err != nil {
			return fmt.Errorf("claim: %w", err)
		}
		if len(fresh) > 0 {
			rows := newColumns(len(fresh))
			for _, e := range fresh {
				rows.add(e)
			}
			if _, err := conn.Exec(ctx, businessMany, rows.args()...); err != nil {
				return fmt.Errorf("business write: %w", err)
			}
		}
		if _, err := conn.Exec(ctx, "COMMIT"); err != nil {
			return fmt.Errorf("commit: %w", err)
		}

		return nil
	}
}
