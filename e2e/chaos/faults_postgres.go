package main

import (
	"context"
	"errors"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// Faults of PostgreSQL.
const (
	restart  = "immediate restart of PostgreSQL"
	failover = "failover without the last commits"
	forget   = "crash without the last commits"
	fullDisk = "full disk"

	killBouncer     = "kill -9 of PgBouncer"
	terminate       = "pg_terminate_backend"
	cutBefore       = "cut before COMMIT"
	cutBehind       = "cut behind COMMIT"
	cutAt           = "cut in COMMIT"
	cutAll          = "cut of all connections"
	refuse          = "PostgreSQL cannot be reached"
	lockCheckpoints = "locked checkpoint"
	lockStock       = "locked business rows"
	pgLatency       = "slow network to PostgreSQL"
	pgStall         = "one-sided network to PostgreSQL"
)

// unwritten is how long a commit may stay unwritten without synchronous_commit: three times wal_writer_delay, and
// what a busy machine adds.
const unwritten = 5 * time.Second

func (n *nemesis) restart(ctx context.Context, _ fault) error {
	if n.plan.forgetful {
		n.topology.Lock()
		defer n.topology.Unlock()
		defer n.lost(n.mayLoseSince(), restart)
	}

	return n.stack.pair.Primary.Restart(ctx)
}

// failover lets the standby miss a while, promotes it, and gives it a standby.
func (n *nemesis) failover(ctx context.Context, f fault) error {
	n.topology.Lock()
	defer n.topology.Unlock()
	err := n.promote(ctx, f)
	if n.plan.forgetful { // It crashes for the copy.
		defer n.lost(n.mayLoseSince(), "crash for a new standby")
	}

	return errors.Join(err, n.stack.pair.Renew(ctx, n.stack.config))
}

func (n *nemesis) promote(ctx context.Context, f fault) error {
	defer n.lost(n.mayLoseSince(), failover)
	if err := n.stack.pair.Cut(ctx); err != nil {
		return err
	}
	n.observer.awaitMove(ctx, f.between(0, 2*time.Second))

	return n.stack.pair.Failover(ctx)
}

// mayLoseSince is from when on a crash now loses commits.
func (n *nemesis) mayLoseSince() time.Time {
	if n.plan.forgetful {
		return time.Now().Add(-unwritten)
	}

	return time.Now()
}

// forget keeps commits in memory for a while and has PostgreSQL crash.
func (n *nemesis) forget(ctx context.Context, f fault) error {
	n.topology.Lock()
	defer n.topology.Unlock()
	defer n.lost(n.mayLoseSince(), forget)
	primary := n.stack.pair.Primary
	if err := primary.HoldWAL(ctx); err != nil {
		return err
	}
	n.observer.awaitMove(ctx, f.between(0, time.Second))

	return primary.LoseWAL(ctx)
}

// fillDisk leaves PostgreSQL no room. Its servers end, or crash and recover, or only fail statements.
func (n *nemesis) fillDisk(ctx context.Context, f fault) error {
	if n.stack.disk == nil {
		return errNothing
	}
	n.topology.Lock()
	defer n.topology.Unlock()
	if n.plan.forgetful {
		defer n.lost(n.mayLoseSince(), fullDisk)
	}
	err := n.stack.disk.fill(ctx, f.between(100*time.Millisecond, 3*time.Second))
	ctx = context.WithoutCancel(ctx)
	err = errors.Join(err, n.stack.pair.Standby.Restart(ctx))
	for began := time.Now(); time.Since(began) < unwritten; wait(ctx, observeEvery) {
		if n.exec(ctx, `SELECT`) == nil {
			return err
		}
	}

	return errors.Join(err, n.stack.pair.Primary.Restart(ctx)) // It has not come back by itself.
}

// terminate ends some of the sessions of workers.
func (n *nemesis) terminate(ctx context.Context, _ fault) error {
	return n.exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND random() < 0.3`)
}

func (n *nemesis) exec(ctx context.Context, sql string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := n.stack.pool.Exec(ctx, sql, args...)

	return err
}

func (n *nemesis) cutCommit(ctx context.Context, f fault) error {
	mode := map[string]pgtest.CutMode{
		cutBefore: pgtest.DropBeforeCommit, cutBehind: pgtest.DropAfterCommit, cutAt: pgtest.ForwardCommitThenCut,
	}[f.kind]
	select {
	case <-n.stack.proxy.CutNextCommit(mode):
		return nil
	case <-time.After(time.Second):
		return errNothing
	case <-ctx.Done():
		return ctx.Err()
	}
}

// killBouncer kills what is supervised.
func (n *nemesis) killBouncer(context.Context, fault) error {
	if n.stack.bouncer == nil {
		return errNothing
	}
	n.stack.bounces.Lock()
	defer n.stack.bounces.Unlock()
	n.stack.bouncer.Kill()

	return nil
}

func (n *nemesis) cutAll(context.Context, fault) error {
	n.stack.proxy.CutAll()

	return nil
}

func (n *nemesis) refuse(ctx context.Context, f fault) error {
	n.stack.proxy.Refuse()
	defer n.stack.proxy.Resume()
	wait(ctx, f.between(100*time.Millisecond, 3*time.Second))

	return nil
}

// lock locks what workers need.
func (n *nemesis) lock(ctx context.Context, f fault) error {
	long := f.between(100*time.Millisecond, 2*time.Second)
	limited, cancel := context.WithTimeout(ctx, long+5*time.Second)
	defer cancel()
	tx, err := n.stack.pool.Begin(limited)
	if err != nil {
		return err
	}
	defer tx.Rollback(limited) //nolint:errcheck // It may be gone.
	if f.kind == lockCheckpoints {
		p := n.partition(f)
		_, err = tx.Exec(limited, `SELECT FROM idem.checkpoints WHERE topic = $1 AND partition = $2 FOR UPDATE`, p.Topic, p.Partition)
	} else {
		_, err = tx.Exec(limited, `SELECT FROM public.stock WHERE (id + $1) % $2 < $2 / 2 FOR UPDATE`, int(f.pick%stockRows), stockRows)
	}
	if err != nil {
		return err
	}
	wait(ctx, long)

	return nil
}

func (n *nemesis) pgWeather(ctx context.Context, f fault) error {
	bad := weather{delay: f.between(time.Millisecond, 20*time.Millisecond), part: 1 + int(f.pick%1400)}
	if f.kind == pgStall {
		bad = weather{there: f.pick%2 == 0, andBack: f.pick%2 != 0}
	}
	n.stack.wire.set(bad)
	defer n.stack.wire.set(weather{})
	wait(ctx, f.between(100*time.Millisecond, 2*time.Second))
	if f.kind == pgStall {
		n.stack.wire.cut()
	}

	return nil
}
