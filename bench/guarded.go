package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
)

// newGuard returns a guard that needs no registration any more.
func newGuard(ctx context.Context, j *job) (*idem.Guard, error) {
	guard, err := idem.New(j.pool, idem.Config{Consumer: consumerName})
	if err == nil {
		err = guard.Register(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("make a guard: %w", err)
	}

	return guard, nil
}

// openSingle is ProcessIfNew.
func openSingle(ctx context.Context, j *job) (processor, func(), error) {
	guard, err := newGuard(ctx, j)

	return func(ctx context.Context, _ int, events []event) error {
		for _, e := range events {
			_, err := guard.ProcessIfNew(ctx, e.ID, func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, businessOne, e.ID, e.Account, e.Amount)

				return err
			})
			if err != nil {
				return err
			}
		}

		return nil
	}, nothing, err
}

// openExec is ExecIfNew: one by one, all in one round trip.
func openExec(ctx context.Context, j *job) (processor, func(), error) {
	guard, err := newGuard(ctx, j)

	return func(ctx context.Context, _ int, events []event) error {
		for _, e := range events {
			_, err := guard.ExecIfNew(ctx, e.ID, func(b *pgx.Batch) error {
				b.Queue(businessOne, e.ID, e.Account, e.Amount)

				return nil
			})
			if err != nil {
				return err
			}
		}

		return nil
	}, nothing, err
}

// openBatch is ProcessBatch: event ids alone.
func openBatch(ctx context.Context, j *job) (processor, func(), error) {
	guard, err := newGuard(ctx, j)

	return func(ctx context.Context, _ int, events []event) error {
		results, err := guard.ProcessBatch(ctx, batchEvents(events, 0, true), writeBatch)

		return verdict(results, err)
	}, nothing, err
}

// openCheckpoint is Owner.ProcessBatch without event ids.
func openCheckpoint(ctx context.Context, j *job) (processor, func(), error) {
	return openAt(ctx, j, false)
}

// openBoth is Owner.ProcessBatch with event ids.
func openBoth(ctx context.Context, j *job) (processor, func(), error) {
	return openAt(ctx, j, true)
}

func openAt(ctx context.Context, j *job, keys bool) (processor, func(), error) {
	guard, err := newGuard(ctx, j)
	if err != nil {
		return nil, nil, err
	}
	marks, offsets := make([]*idem.Owner, j.workers), make([]int64, j.workers)
	for i := range marks {
		marks[i], err = guard.Acquire(ctx, idem.Partition{Topic: "bench", Number: int32(i)}, idem.AcquireOptions{Patience: time.Second})
		if err != nil {
			return nil, nil, fmt.Errorf("take over: %w", err)
		}
	}

	return func(ctx context.Context, worker int, events []event) error {
		batch := batchEvents(events, offsets[worker], keys)
		offsets[worker] += int64(len(events))
		results, err := marks[worker].ProcessBatch(ctx, batch, writeBatch)

		return verdict(results, err)
	}, nothing, nil
}

func batchEvents(events []event, offset int64, keys bool) []idem.Event {
	batch := make([]idem.Event, len(events))
	for i := range events {
		batch[i] = idem.Event{ByCheckpoint: !keys, Offset: offset + int64(i), Data: &events[i]}
		if keys {
			batch[i].ID = events[i].ID
		}
	}

	return batch
}

// writeBatch is the business write of a batch.
func writeBatch(ctx context.Context, tx pgx.Tx, fresh []idem.Event) error {
	rows := newColumns(len(fresh))
	for _, e := range fresh {
		rows.add(*e.Data.(*event)) //nolint:forcetypeassert // batchEvents sets it.
	}
	_, err := tx.Exec(ctx, businessMany, rows.args()...)

	return err
}

func verdict(results []idem.BatchResult, err error) error {
	for _, result := range results {
		if err == nil {
			err = result.Err
		}
	}

	return err
}
