package idem

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/schema"
)

const (
	// A batch is the expired rows of some blocks of the heap; how many blocks follows from
	// how long the last batch took.
	firstBatchBlocks = 64
	minBatchBlocks   = 8
	maxBatchBlocks   = 1 << 16
	batchTarget      = 5 * time.Millisecond // Little enough that other transactions hardly notice.
	maxPause         = time.Second          // also after a batch that was retried for long
)

// CleanupReport says what one pass of cleanup did.
type CleanupReport struct {
	// Deleted counts the forgotten events of all consumers, Consumers those of each. The
	// counts can be too low by one batch, if the connection is lost during a COMMIT, never too high.
	Deleted   int64
	Consumers map[string]int64
	// DeadLetters counts the dead letters that were removed, because they were resolved longer ago
	// than their consumer's retention. Unresolved ones stay.
	DeadLetters int64
	// Leases counts the leases that were removed, because nobody has come back to their events within
	// their consumer's retention. Those about which an operator has to decide stay.
	Leases int64
	// Batches is the number of transactions of the pass, Elapsed its duration.
	Batches int
	Elapsed time.Duration
	// Complete is false, with a nil error, if another process was cleaning up: only one cleans up
	// at a time. What the pass had deleted by then stays deleted. Rows that were locked by others
	// are skipped until the next pass.
	Complete bool
	// Leader names the session that was cleaning up if Complete is false: its pid, role and
	// application. It is empty if that session had ended before it was looked up.
	Leader string
}

// CleanupProgress says how far a pass has come.
type CleanupProgress struct {
	Deleted     int64
	BlocksDone  int64
	BlocksTotal int64
}

// CleanupOldEvents forgets what is older than its consumer's retention, for all consumers of the
// schema, in one pass over the table, with the results of leased events. It also removes dead letters that
// were resolved longer ago than that, and leases to which nobody has come back. It deletes in heap order, in transactions of about 5 ms each with pauses between them
// (CleanerConfig.Share), and stops at the end of ctx with the report so far and the context's error.
// It skips rows that somebody has locked, until the next pass. Only one process cleans up at a time. A
// Cleaner runs it periodically. The error wraps ErrCannotCleanUp if the table cannot be read in heap
// order, or the row is missing by which only one process cleans up; dead letters and leases are removed all the same.
func (g *Guard) CleanupOldEvents(ctx context.Context) (CleanupReport, error) {
	if err := g.check(); err != nil {
		return CleanupReport{}, err
	}
	cleaner, err := NewCleaner(g.pool, CleanerConfig{Schema: g.config.Schema, Retry: g.config.Retry, Hook: g.config.Hooks.Cleanup, Logger: g.config.Logger})
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
	started, op := time.Now(), Op{Kind: OpCleanup}
	ctx = c.config.Hook.begin(ctx, op)
	report.Consumers = map[string]int64{}
	defer func() {
		report.Elapsed = time.Since(started)
		c.config.Hook.end(ctx, op, CleanupEnd{Report: report, Err: err})
	}()

	led, err := c.cleanEvents(ctx, &report)
	if !led && !errors.Is(err, ErrCannotCleanUp) {
		return report, err
	}
	others := c.inChunks(ctx, "dead letters", &report.DeadLetters, c.queries.DeadLetterDeleteResolved)
	if others == nil {
		others = c.inChunks(ctx, "leases", &report.Leases, c.queries.LeaseDeleteExpired)
	}
	err = errors.Join(err, others)
	report.Complete = err == nil

	return report, err
}

// cleanEvents deletes the expired events, with the results of leased ones, and tells whether no other process does.
func (c *Cleaner) cleanEvents(ctx context.Context, report *CleanupReport) (led bool, err error) {
	total, err := c.blocks(ctx)
	if err != nil {
		return false, fmt.Errorf("idem: cleanup: %w", err)
	}

	size := int64(firstBatchBlocks)
	for from := int64(0); from < total; {
		to := min(from+size, total)
		began := time.Now()
		var rows []db.EventDeleteExpiredRow
		err := c.config.Retry.do(ctx, &c.retries, func() error {
			var err error
			rows, err = c.queries.EventDeleteExpired(ctx, c.names.on(c.pool), db.EventDeleteExpiredParams{FromBlock: from, ToBlock: to})

			return explain(err)
		})
		if err != nil {
			return false, fmt.Errorf("idem: cleanup: %w", err)
		}
		if !rows[0].Leading {
			report.Leader, err = c.leader(ctx)
			if err != nil {
				err = fmt.Errorf("idem: cleanup: %w", err)
			}

			return false, err
		}
		report.Batches++
		for _, row := range rows {
			if row.Deleted > 0 { // There is one row without anything.
				report.Deleted += row.Deleted
				report.Consumers[row.Consumer] += row.Deleted
			}
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

	return true, nil
}

// blocks is the size of the table, if it is one that can be read block by block.
func (c *Cleaner) blocks(ctx context.Context) (int64, error) {
	var heap db.EventHeapRow
	err := c.config.Retry.do(ctx, &c.retries, func() error {
		var err error
		heap, err = c.queries.EventHeap(ctx, c.names.on(c.pool))

		return explain(err)
	})
	switch {
	case err != nil:
		return 0, err
	case heap.Kind != "r":
		return 0, fmt.Errorf("%w: it is not a plain table (pg_class.relkind is %q)", ErrCannotCleanUp, heap.Kind)
	case heap.HasChildren:
		return 0, fmt.Errorf("%w: other tables inherit from it", ErrCannotCleanUp)
	case heap.AccessMethod != "heap":
		return 0, fmt.Errorf("%w: its access method is %q, not heap", ErrCannotCleanUp, heap.AccessMethod)
	case heap.Blocks == 0 && heap.HasRows:
		return 0, fmt.Errorf("%w: its rows are stored elsewhere, as those of a distributed table are", ErrCannotCleanUp)
	default:
		return heap.Blocks, nil
	}
}

// leader names the session that cleans up. Without the row that it locks nobody does.
func (c *Cleaner) leader(ctx context.Context) (string, error) {
	found, err := c.queries.CleanupLeadExists(ctx, c.names.on(c.pool))
	switch {
	case err != nil:
		return "", explain(err)
	case !found:
		return "", fmt.Errorf("%w: the table cleanup has lost its row, which whoever cleans up locks; a TRUNCATE or a restore of the schema alone does that. As the role that owns the tables run: %s",
			ErrCannotCleanUp, schema.Qualify("INSERT INTO idem.cleanup DEFAULT VALUES;", c.config.Schema))
	}
	rows, err := c.queries.CleanupLeaders(ctx, c.names.on(c.pool))
	if err != nil || len(rows) == 0 {
		return "", explain(err)
	}

	return session{rows[0].Pid, rows[0].Role, rows[0].Application}.String(), nil
}

// inChunks repeats a statement until it has nothing more to delete, and counts what it has deleted.
func (c *Cleaner) inChunks(ctx context.Context, what string, total *int64, statement func(ctx context.Context, conn db.DBTX, most int32) (int64, error)) error {
	for {
		var deleted int64
		err := c.config.Retry.do(ctx, &c.retries, func() error {
			var err error
			deleted, err = statement(ctx, c.names.on(c.pool), chunk)

			return explain(err)
		})
		if err != nil {
			return fmt.Errorf("idem: clean up %s: %w", what, err)
		}
		*total += deleted
		if deleted < chunk {
			return nil
		}
	}
}

// pauseBehind is how long to pause after a batch.
func (c *Cleaner) pauseBehind(took time.Duration) time.Duration {
	return time.Duration(min(float64(took)*(1/c.config.Share-1), float64(maxPause)))
}

// nextBatch moves the size towards what takes batchTarget, at most by a factor of two.
func nextBatch(size int64, took time.Duration) int64 {
	factor := float64(batchTarget) / float64(max(took, time.Millisecond))
	size = int64(float64(size) * min(max(factor, 0.5), 2))

	return min(max(size, minBatchBlocks), maxBatchBlocks)
}
