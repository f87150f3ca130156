package main

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
)

// storage measures how much a key takes on the disk and in the WAL, without a business write.
func (b *bench) storage(ctx context.Context) error {
	s := b.settings
	for _, ids := range []string{uuid4, uuid7, stringID} {
		if s.Mode == quickMode && ids != uuid4 {
			continue
		}
		for _, x := range []struct {
			name, table string
			open        opener
		}{
			{"idem", "idem.processed_events", openClaims},
			{seedName, "seed.processed_events", openMarks},
		} {
			disk, wal, err := b.store(ctx, x.table, ids, x.open)
			if err != nil {
				return err
			}
			b.sayf("a key of %-6s in %-21s %4.0f bytes on disk, %4.0f of WAL", ids, x.table, disk, wal)
			m := measurement{Section: sectionStorage, Subject: x.name, Workers: 1, Batch: s.Batch, Load: load{IDs: ids}, Unit: "bytes/key"}
			m.ID = "storage/disk/" + x.name + "/" + ids
			b.report.record(m, sample{rate: disk})
			m.ID = "storage/wal/" + x.name + "/" + ids
			b.report.record(m, sample{rate: wal})
		}
	}

	return nil
}

// store stores keys in an empty table and says what each takes.
func (b *bench) store(ctx context.Context, table, ids string, open opener) (disk, wal float64, err error) {
	d := b.database
	if err := d.reset(ctx); err != nil {
		return 0, 0, err
	}
	pool, err := d.pool(ctx, 1, nil)
	if err != nil {
		return 0, 0, err
	}
	defer pool.Close()
	process, closer, err := open(ctx, &job{database: d, pool: pool, workers: 1, size: b.settings.Batch, accounts: d.accounts})
	if err != nil {
		return 0, 0, err
	}
	defer closer()
	before, err := d.usage(ctx)
	if err != nil {
		return 0, 0, err
	}
	source := newStream(load{IDs: ids}, 0, 1, d.accounts)
	batch := make([]event, b.settings.Batch)
	stored := 0
	for ; stored < b.settings.StorageKeys; stored += len(batch) {
		source.fill(batch)
		if err := process(ctx, 0, batch); err != nil {
			return 0, 0, err
		}
	}
	after, err := d.usage(ctx)
	if err != nil {
		return 0, 0, err
	}
	size, err := d.number(ctx, "SELECT pg_total_relation_size('"+table+"')::float8")

	return size / float64(stored), (after.wal - before.wal) / float64(stored), err
}

// openClaims stores keys by ProcessBatch.
func openClaims(ctx context.Context, j *job) (processor, func(), error) {
	guard, err := newGuard(ctx, j)

	return func(ctx context.Context, _ int, events []event) error {
		results, err := guard.ProcessBatch(ctx, batchEvents(events, 0, true), func(context.Context, pgx.Tx, []idem.Event) error { return nil })

		return verdict(results, err)
	}, nothing, err
}

// openMarks stores keys in the seed's table. The seed inserts them one by one, which takes more
// WAL; as many at a time as the guard does makes the tables comparable.
func openMarks(_ context.Context, j *job) (processor, func(), error) {
	return func(ctx context.Context, _ int, events []event) error {
		ids, keys := make([]string, len(events)), make([]uuid.UUID, len(events))
		for i, e := range events {
			ids[i], keys[i] = e.ID, uuid.New()
		}
		_, err := j.pool.Exec(ctx, `INSERT INTO seed.processed_events (id, event_id) SELECT id, event_id FROM unnest($1::uuid[], $2::text[]) AS e (id, event_id)`, keys, ids)
		if err != nil {
			return fmt.Errorf("mark: %w", err)
		}

		return nil
	}, nothing, nil
}
