package idem

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
)

const (
	// cleanupLock tells the lead of the cleanup from other advisory locks on the same table.
	cleanupLock = 0x6964656d // "idem"

	// A batch is the expired rows of some blocks of the heap; how many blocks follows from
	// how long the last batch took.
	firstBatchBlocks = 64
	minBatchBlocks   = 8
	maxBatchBlocks   = 1 << 16
	batchTarget      = 5 * time.Millisecond // Little enough that other transactions hardly notice.
	maxPause         = time.Second          // also behind a batch that had to be tried for long
)

// CleanupReport says what one pass of cleanup did.
type CleanupReport struct {
	// Deleted counts the forgotten events of all consumers, Consumers those of each. They
	// never say too much; if the connection is lost during a COMMIT, they may miss one batch.
	Deleted   int64
	Consumers map[string]int64
	// DeadLetters counts the letters that were removed, because they were resolved longer ago
	// than their consumer's retention. Unresolved ones stay.
	DeadLetters int64
	// Batches is the number of transactions that it took, Elapsed the time.
	Batches int
	Elapsed time.Duration
	// Complete is false, with a nil error, if another process was cleaning up: at most one
	// does at a time. What the pass had deleted by then stays deleted.
	Complete bool
}

// CleanupProgress says how far a pass has come.
type CleanupProgress struct {
	Deleted     int64
	BlocksDone  int64
	BlocksTotal int64
}

// CleanupOldEvents forgets what is older than its consumer's retention, for all consumers of
// the schema, in one pass over the table, and removes dead letters that were resolved as long ago. It
// deletes in heap order, in transactions of about 5 ms each with pauses between them
// (CleanerConfig.Share), and stops at the end of ctx with the report so far and the context's error.
// Only one process cleans up at a time. A Cleaner runs it periodically.
func (g *Guard) CleanupOldEvents(ctx context.Context) (CleanupReport, error) {
	if err := g.check(); err != nil {
		return CleanupReport{}, err
	}
	cleaner, err := NewCleaner(g.pool, CleanerConfig{Schema: g.config.Schema, Retry: g.config.Retry, Logger: g.config.Logger})
	if err != nil {
		return CleanupReport{}, err
	}

	return cleaner.Clean(ctx)
}

// Clean makes one pass over the table, as Guard.CleanupOldEvents does.
func (c *Cleaner) Clean(ctx context.Context) (report CleanupReport, err error) {
	if err := c.check(); err != nil {
		return CleanupReport{}, err
	}
	started := time.Now()
	report.Consumers = map[string]int64{}
	defer func() { report.Elapsed = time.Since(started) }()

	var total int64
	err = c.config.Retry.do(ctx, c.config.Logger, func() error {
		var err error
		total, err = c.queries.EventHeapBlocks(ctx, c.names.on(c.pool))

		return explain(err)
	})
	if err != nil {
		return report, fmt.Errorf("idem: cleanup: %w", err)
	}

	size := int64(firstBatchBlocks)
	for from := int64(0); from < total; {
		to := min(from+size, total)
		began := time.Now()
		var batch cleanupBatch
		err := c.config.Retry.do(ctx, c.config.Logger, func() error {
			var err error
			batch, err = c.cleanBlocks(ctx, from, to)

			return err
		})
		if err != nil {
			return report, fmt.Errorf("idem: cleanup: %w", err)
		}
		if !batch.leading {
			return report, nil
		}
		report.Batches++
		for _, row := range batch.deleted {
			report.Deleted += row.Deleted
			report.Consumers[row.Consumer] += row.Deleted
		}
		if c.config.Progress != nil {
			c.config.Progress(CleanupProgress{Deleted: report.Deleted, BlocksDone: to, BlocksTotal: total})
		}
		took := time.Since(began)
		from, size = to, nextBatch(size, took)
		if from < total {
			backoff.Sleep(ctx, c.pauseBehind(took))
		}
	}
	report.Complete, err = c.cleanLetters(ctx, &report)

	return report, err
}

// cleanLetters removes resolved dead letters, and reports whether this process was leading.
func (c *Cleaner) cleanLetters(ctx context.Context, report *CleanupReport) (bool, error) {
	for {
		var deleted int64
		leading := false
		err := c.config.Retry.do(ctx, c.config.Logger, func() error {
			return explain(pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
				conn := c.names.on(tx)
				var err error
				if leading, err = c.queries.CleanupTryLead(ctx, conn, cleanupLock); err != nil || !leading {
					return err //nolint:wrapcheck // Wrapped below.
				}
				deleted, err = c.queries.DeadLetterDeleteResolved(ctx, conn, chunk)

				return err //nolint:wrapcheck // Wrapped below.
			}))
		})
		if err != nil {
			return false, fmt.Errorf("idem: clean up dead letters: %w", err)
		}
		report.DeadLetters += deleted
		if !leading || deleted < chunk {
			return leading, nil
		}
	}
}

type cleanupBatch struct {
	leading bool
	deleted []db.EventDeleteExpiredRow
}

// CountExpired returns for each consumer how many events Clean would forget now, without
// those that have none. It reads the whole table.
func (c *Cleaner) CountExpired(ctx context.Context) (map[string]int64, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	rows, err := c.queries.EventCountExpired(ctx, c.names.on(c.pool))
	if err != nil {
		return nil, fmt.Errorf("idem: count expired events: %w", explain(err))
	}
	for _, row := range rows {
		counts[row.Consumer] = row.Expired
	}

	return counts, nil
}

// cleanBlocks deletes what is expired in the blocks [from, to), if this process leads.
func (c *Cleaner) cleanBlocks(ctx context.Context, from, to int64) (batch cleanupBatch, err error) {
	err = pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		conn := c.names.on(tx)
		var err error
		if batch.leading, err = c.queries.CleanupTryLead(ctx, conn, cleanupLock); err != nil || !batch.leading {
			return err //nolint:wrapcheck // The caller wraps it.
		}
		batch.deleted, err = c.queries.EventDeleteExpired(ctx, conn, db.EventDeleteExpiredParams{FromBlock: from, ToBlock: to})

		return err //nolint:wrapcheck // The caller wraps it.
	})

	return batch, explain(err)
}

// pauseBehind is how long to leave the database to others behind a batch.
func (c *Cleaner) pauseBehind(took time.Duration) time.Duration {
	return min(time.Duration(float64(took)*(1/c.config.Share-1)), maxPause)
}

// nextBatch moves the size towards what takes batchTarget, at most by a factor of two.
func nextBatch(size int64, took time.Duration) int64 {
	factor := float64(batchTarget) / float64(max(took, time.Millisecond))
	size = int64(float64(size) * min(max(factor, 0.5), 2))

	return min(max(size, minBatchBlocks), maxBatchBlocks)
}
