package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// openSeed is the algorithm that asks first and inserts last: three statements, each with a
// transaction of its own.
func openSeed(_ context.Context, j *job) (processor, func(), error) {
	const (
		check  = `SELECT id FROM seed.processed_events WHERE event_id = $1`
		insert = `INSERT INTO seed.processed_events (id, event_id, processed_at, metadata) VALUES ($1, $2, now(), $3)`
	)

	return func(ctx context.Context, _ int, events []event) error {
		for _, e := range events {
			var known uuid.UUID
			err := j.pool.QueryRow(ctx, check, e.ID).Scan(&known)
			if err == nil {
				continue
			}
			if !errors.Is(err, pgx.ErrNoRows) {
				return fmt.Errorf("check: %w", err)
			}
			if _, err := j.pool.Exec(ctx, businessOne, e.ID, e.Account, e.Amount); err != nil {
				return fmt.Errorf("business write: %w", err)
			}
			if _, err := j.pool.Exec(ctx, insert, uuid.NewString(), e.ID, nil); err != nil {
				return fmt.Errorf("mark: %w", err)
			}
		}

		return nil
	}, nothing, nil
}

// openMarkFirst is the algorithm that marks first and works then, as SET NX in a cache does: an event
// whose work fails, or whose process dies in between, is lost.
func openMarkFirst(_ context.Context, j *job) (processor, func(), error) {
	const mark = `INSERT INTO seed.processed_events (id, event_id) VALUES ($1, $2) ON CONFLICT DO NOTHING`

	return func(ctx context.Context, _ int, events []event) error {
		for _, e := range events {
			tag, err := j.pool.Exec(ctx, mark, uuid.NewString(), e.ID)
			if err != nil {
				return fmt.Errorf("mark: %w", err)
			}
			if tag.RowsAffected() == 0 {
				continue
			}
			if _, err := j.pool.Exec(ctx, businessOne, e.ID, e.Account, e.Amount); err != nil {
				return fmt.Errorf("business write: %w", err)
			}
		}

		return nil
	}, nothing, nil
}
