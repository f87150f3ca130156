package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	pollInterval = 100 * time.Millisecond

	// nudgeTime is how long nothing must move before one more naive consumer joins, so that the
	// group rebalances: a late commit of kafka.Reader can set an offset back, which shows only
	// to the next owner of the partition. The guarded consumer gets no such help.
	nudgeTime = 5 * time.Second

	// stallTimeout is how long nothing must move before the demo gives up.
	stallTimeout = 30 * time.Second
)

// chaos changes the crew by the schedule while it consumes the topic.
type chaos struct {
	crew     *crew
	topic    *topic
	records  int64
	progress *progress

	committed int64 // records, by the group's offsets
	moved     time.Time
	nudged    time.Time
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
		if c.committed == c.records {
			return nil
		}
		if err := c.mindStall(ctx, lookError); err != nil {
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

// mindStall helps a group that has not moved for a while, and gives up on one that has not
// moved for long; lookError may tell why.
func (c *chaos) mindStall(ctx context.Context, lookError error) error {
	if time.Since(c.moved) > stallTimeout {
		return errors.Join(fmt.Errorf("group %s stopped at %d of %d records and has not moved for %s",
			c.crew.job.Group, c.committed, c.records, stallTimeout), lookError)
	}
	if c.crew.job.Consumer != naiveConsumer || time.Since(c.moved) < nudgeTime || time.Since(c.nudged) < nudgeTime {
		return nil
	}
	c.nudged = time.Now()
	number, err := c.crew.start(ctx)
	if err != nil {
		return err
	}
	c.progress.note(fmt.Sprintf("nothing has moved for %s: consumer %d joined", nudgeTime, number))

	return nil
}
