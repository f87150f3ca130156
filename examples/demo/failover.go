package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// settleTime is how long the guarded ledger may take to become right after its group has committed
// everything: a group's offset does not show that records before it are read again.
const settleTime = 10 * time.Second

// contest is both consumers at work side by side.
type contest struct {
	demo

	guarded, naive *side
	report         *failoverReport
}

// failOver lets both consumers work on a primary that dies with its last commits unreplicated, and
// go on with its standby.
func (d demo) failOver(ctx context.Context, r *failoverReport) (err error) {
	c := contest{demo: d, report: r}
	for consumer, s := range map[string]**side{guardedConsumer: &c.guarded, naiveConsumer: &c.naive} {
		if *s, err = d.open(ctx, consumer); err != nil {
			return fmt.Errorf("%s: %w", consumer, err)
		}
		defer func() { err = errors.Join(err, (*s).close(ctx, false)) }()
		if _, err := (*s).crew.start(ctx); err != nil {
			return err
		}
	}
	if err := c.run(ctx); err != nil {
		return err
	}
	r.Records, r.Rewinds = int64(len(d.sent.records)), c.guarded.crew.rewinds.lines.Load()
	if err := errors.Join(c.guarded.crew.close(ctx), c.naive.crew.close(ctx)); err != nil {
		return err
	}
	if r.Guarded.audit, err = readAudit(ctx, c.guarded.pool); err != nil {
		return err
	}
	r.Naive.audit, err = readAudit(ctx, c.naive.pool)

	return err
}

// run produces the records in three parts: the effects of the first are on both servers, those of
// the second on the primary only, the third comes while there is no primary. It returns when all
// that can still take effect has.
func (c *contest) run(ctx context.Context) error {
	records := c.sent.records
	first, second := len(records)/3, 2*len(records)/3
	if err := c.produce(ctx, records[:first]); err != nil {
		return err
	}
	if err := c.await(ctx, first); err != nil {
		return err
	}
	if err := c.servers.pair.Cut(ctx); err != nil {
		return err
	}
	c.sayf("the standby receives nothing from here on")
	if err := c.produce(ctx, records[first:second]); err != nil {
		return err
	}
	// Only half of them are waited for, so that transactions are under way.
	if err := c.await(ctx, first+(second-first)/2); err != nil {
		return err
	}
	if err := c.loseThePrimary(ctx, records[second:]); err != nil {
		return err
	}
	if err := c.await(ctx, len(records)); err != nil {
		return err
	}

	return c.settle(ctx)
}

// loseThePrimary kills the primary, produces records meanwhile and promotes the standby.
func (c *contest) loseThePrimary(ctx context.Context, meanwhile []payment) error {
	pair := c.servers.pair
	lost := map[*side]*int64{c.guarded: &c.report.GuardedUnreplicated, c.naive: &c.report.NaiveUnreplicated}
	for s, n := range lost {
		entries, err := s.entries(ctx, pair.Primary.DSN("postgres"))
		if err != nil {
			return err
		}
		*n = entries
	}
	pair.Primary.Crash()
	c.sayf("the primary is killed")
	for s, n := range lost {
		entries, err := s.entries(ctx, pair.Standby.DSN("postgres"))
		if err != nil {
			return err
		}
		*n -= entries
	}
	if err := c.produce(ctx, meanwhile); err != nil {
		return err
	}
	if err := pair.Failover(ctx); err != nil {
		return err
	}
	c.sayf("the standby is promoted, without the last %d payments of the guarded consumer and %d of the naive one",
		c.report.GuardedUnreplicated, c.report.NaiveUnreplicated)
	c.guarded.pool.Reset()
	c.naive.pool.Reset()

	return nil
}

func (c *contest) produce(ctx context.Context, records []payment) error {
	c.sayf("producing %d records", len(records))

	return c.topic.produce(ctx, records)
}

// await waits until both groups have committed so many records.
func (c *contest) await(ctx context.Context, records int) error {
	var latest [2]int64
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	moved, told := time.Now(), time.Now()
	for {
		var committed [2]int64
		var lookErrors error // Right after a group's start an error is normal.
		for i, s := range []*side{c.guarded, c.naive} {
			var err error
			committed[i], err = c.topic.committed(ctx, s.name)
			lookErrors = errors.Join(lookErrors, err)
		}
		if min(committed[0], committed[1]) >= int64(records) {
			return nil
		}
		if committed != latest {
			latest, moved = committed, time.Now()
		}
		if time.Since(moved) > stallTimeout {
			return errors.Join(fmt.Errorf("the groups stopped at %d and %d of %d records and have not moved for %s",
				committed[0], committed[1], records, stallTimeout), lookErrors)
		}
		if time.Since(told) > lineInterval {
			told = time.Now()
			c.sayf("committed to Kafka: guarded %d, naive %d; waiting for %d", committed[0], committed[1], records)
		}

		select {
		case <-poll.C:
		case err := <-c.guarded.crew.failed:
			return err
		case err := <-c.naive.crew.failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("interrupted: %w", context.Cause(ctx))
		}
	}
}

// settle waits until the guarded ledger is right, or has had the time to become so.
func (c *contest) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		a, err := readAudit(ctx, c.guarded.pool)
		switch {
		case err == nil && a.right(), errors.Is(ctx.Err(), context.DeadlineExceeded):
			return nil
		case err != nil:
			return err
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
		}
	}
}

// entries counts the ledger's entries on one of the servers.
func (s *side) entries(ctx context.Context, dsn string) (n int64, err error) {
	pool, err := connect(ctx, dsn, s.name)
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	if err := pool.QueryRow(ctx, "SELECT count(*) FROM ledger").Scan(&n); err != nil {
		return 0, fmt.Errorf("count the ledger's entries: %w", err)
	}

	return n, nil
}
