package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/history"
	"github.com/nova-events/idempotent-consumer/ops"
)

// What operators do.
const (
	pauseGroup    = "pause and resume"
	resetBack     = "checkpoint set back"
	replayLetters = "replay of dead letters"
	cleanUp       = "cleanup"
)

const operatorTimeout = 20 * time.Second

func (n *nemesis) pauseGroup(ctx context.Context, f fault) error {
	limited, cancel := context.WithTimeout(ctx, operatorTimeout)
	defer cancel()
	if _, err := n.ops.Pause(limited, consumerName, ops.PauseRequest{By: "chaos"}); err != nil {
		return err
	}
	wait(ctx, f.between(0, 3*time.Second))

	return n.resume(ctx)
}

// resume tries until it has: a pause must not outlive the run.
func (n *nemesis) resume(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*operatorTimeout)
	defer cancel()
	for {
		if _, err = n.ops.Resume(ctx, consumerName); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("resume the consumer: %w", err)
		}
		wait(ctx, observeEvery)
	}
}

// resetBack sets a checkpoint back by a few records: their events are known and must not take effect again.
func (n *nemesis) resetBack(ctx context.Context, f fault) error {
	p := n.partition(f)
	next, there := n.observer.position(p)
	if !there {
		return fmt.Errorf("%v has no checkpoint", p)
	}
	ctx, cancel := context.WithTimeout(ctx, operatorTimeout)
	defer cancel()
	began := time.Now()
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.resets = append(n.resets, history.Reset{Partition: p, From: began, To: time.Now()})
	}()
	plan, err := n.ops.PlanReset(ctx, ops.CheckpointTarget{
		Consumer: consumerName, Topic: p.Topic, Partition: &p.Partition, NextOffset: max(0, next-int64(f.pick%200)),
	})
	if err != nil {
		return err
	}
	if plan.Forward() > 0 {
		return fmt.Errorf("%v has gone back meanwhile", p)
	}
	_, err = n.ops.ResetCheckpoints(ctx, plan)

	return err
}

func (n *nemesis) replayLetters(ctx context.Context, _ fault) error {
	ctx, cancel := context.WithTimeout(ctx, operatorTimeout)
	defer cancel()
	plan, err := n.ops.PlanReplay(ctx, ops.DeadLetterChoice{All: true})
	if err != nil {
		return err
	}
	_, err = n.ops.ReplayDeadLetters(ctx, plan, nil)

	return err
}

// forgettable makes old ones of events that only the checkpoint keeps from coming again. In the frail topic it does: nobody sends there twice,
// no operator sets it back, and what an unclean election takes is gone. Events with dead letters are known for their replays.
const forgettable = `UPDATE idem.processed_events SET processed_at = now() - interval '8 days'
	WHERE consumer_id = idem.consumer_id($1) AND event_id LIKE $2 || '-%' AND processed_at < now() - interval '1 minute'
	AND event_id NOT IN (SELECT event_id FROM idem.dead_letters WHERE event_id IS NOT NULL)`

// cleanUp forgets events: invented ones and, where there are checkpoints besides, real ones.
func (n *nemesis) cleanUp(ctx context.Context, _ fault) error {
	err := n.exec(ctx, `INSERT INTO idem.processed_events (consumer_id, key, processed_at, claim_id)
		SELECT idem.consumer_id($1), gen_random_uuid(), now() - interval '8 days', gen_random_uuid() FROM generate_series(1, 1000)`, consumerName)
	if err == nil && n.plan.promise.Mode == consume.ByEventIDAndCheckpoint {
		err = n.exec(ctx, forgettable, consumerName, frail)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, operatorTimeout)
	defer cancel()
	_, err = n.ops.Cleanup(ctx, nil)

	return err
}
