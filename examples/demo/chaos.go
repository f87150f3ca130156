package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	pollInterval = 100 * time.Millisecond

	// settleTime is how long nothing must move before the naive consumer is asked whether it
	// has finished although its offsets say otherwise. stallTimeout is when to give up.
	settleTime   = 5 * time.Second
	stallTimeout = 30 * time.Second
)

// chaos changes the crew by the schedule while it consumes the topic.
type chaos struct {
	crew     *crew
	topic    *topic
	pool     *pgxpool.Pool
	records  int64
	progress *progress

	committed int64 // records, by the group's offsets
	moved     time.Time
}

// run returns when all records are consumed.
func (c *chaos) run(ctx context.Context) error {
	defer c.progress.close()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()

	c.moved = time.Now()
	pending := schedule
	for {
		lookError := c.look(ctx)
		for len(pending) > 0 && float64(c.committed) >= pending[0].at*float64(c.records) {
			description, err := pending[0].apply(ctx, c.crew)
			if err != nil {
				return err
			}
			c.progress.note(description)
			pending = pending[1:]
		}
		if done, err := c.done(ctx, lookError); done || err != nil {
			return err
		}

		select {
		case <-poll.C:
		case err := <-c.crew.failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("interrupted: %w", context.Cause(ctx))
		}
	}
}

// look reads how far the group has come. Right after a group's start an error is normal.
func (c *chaos) look(ctx context.Context) error {
	committed, err := c.topic.committed(ctx, c.crew.job.Group)
	if err != nil {
		return err
	}
	if committed != c.committed {
		c.committed, c.moved = committed, time.Now()
		c.progress.set(committed)
	}

	return nil
}

// done reports whether the group's offsets have come to the end of the log. It fails if they
// have not moved for long; lookError may tell why.
func (c *chaos) done(ctx context.Context, lookError error) (bool, error) {
	still := time.Since(c.moved)
	switch {
	case c.committed == c.records:
		return true, nil
	case still > stallTimeout:
		return false, errors.Join(fmt.Errorf("group %s stopped at %d of %d records and has not moved for %s",
			c.crew.job.Group, c.committed, c.records, stallTimeout), lookError)
	case still > settleTime && !c.crew.job.Guarded:
		// A late commit of kafka.Reader can set an offset back for good.
		return c.allApplied(ctx)
	default:
		return false, nil
	}
}

// allApplied reports whether each record of the topic is in the ledger.
func (c *chaos) allApplied(ctx context.Context) (bool, error) {
	var applied int64
	err := c.pool.QueryRow(ctx, `SELECT count(DISTINCT ("partition", "offset")) FROM ledger`).Scan(&applied)
	if err != nil {
		return false, fmt.Errorf("count the records in the ledger: %w", err)
	}

	return applied == c.records, nil
}
