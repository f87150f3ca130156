package idemtest

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/engine"
)

const (
	// patience is how long records, or a scenario, may take.
	patience = time.Minute

	// pollInterval is how often a member is asked whether it has done all.
	pollInterval = 2 * time.Millisecond
)

// member is a consumer without Kafka: the engine of the adapters, and logs in memory.
type member struct {
	guard  *idem.Guard
	config consume.Config // complete
	logs   *logs
}

// newMember completes the configuration. What it leaves to defaults is as in production, but pauses and
// intervals are those of a test.
func newMember(guard *idem.Guard, config consume.Config, l *logs) (*member, error) {
	retry := &config.Failure.Retry
	retry.FirstPause = cmp.Or(retry.FirstPause, time.Millisecond)
	retry.LongestPause = cmp.Or(retry.LongestPause, max(10*time.Millisecond, retry.FirstPause))
	config.Failure.ReplayInterval = cmp.Or(config.Failure.ReplayInterval, 20*time.Millisecond)
	config.CommitInterval = cmp.Or(config.CommitInterval, 10*time.Millisecond)
	config.DrainTimeout = cmp.Or(config.DrainTimeout, 10*time.Second)
	config, err := config.Complete(l.topics() > 1)
	if err != nil {
		return nil, err
	}
	if err := config.CheckPool(guard); err != nil {
		return nil, err
	}

	return &member{guard: guard, config: config, logs: l}, nil
}

// run processes the records until all are done with, or ctx ends. What is in progress when ctx ends is
// rolled back.
func (m *member) run(ctx context.Context) error {
	if err := m.addReplays(ctx); err != nil {
		return err
	}

	return m.runOn(ctx, m.logs.places()...)
}

// runOn is run for some of the partitions.
func (m *member) runOn(ctx context.Context, places ...place) error {
	group := m.guard.Consumer()
	e := engine.New(m.guard, m.config, group)
	if err := e.Register(ctx); err != nil {
		return err
	}
	if err := e.Bind(ctx, "idemtest"); err != nil {
		return err
	}

	revoked, revoke := context.WithCancel(ctx)
	defer revoke()
	var (
		running sync.WaitGroup
		mu      sync.Mutex
		failure error
		fenced  bool
	)
	running.Go(func() { e.Watch(revoked) })
	for _, at := range places {
		assignment := engine.Assignment{
			Partition: idem.Partition{Topic: at.topic, Number: at.partition},
			Source:    &source{logs: m.logs, place: at},
			Logger:    m.config.Logger,
		}
		running.Go(func() {
			e.Run(revoked, ctx, assignment, func(rejoin bool, err error) {
				mu.Lock()
				defer mu.Unlock()
				fenced = fenced || rejoin
				if err != nil && failure == nil {
					failure = err
				}
				if err != nil {
					revoke()
				}
			})
		})
	}
	m.await(revoked, places)
	revoke()
	running.Wait()
	switch {
	case failure != nil:
		return failure
	case ctx.Err() != nil:
		return fmt.Errorf("not all is done: %s: %w", cmp.Or(m.logs.unfinished(places), "a dead letter is to be replayed"), context.Cause(ctx))
	case fenced && m.logs.unfinished(places) != "":
		return idem.ErrFenced
	default:
		return nil
	}
}

// await waits until all records are done with and no dead letter is to be replayed, or ctx ends.
func (m *member) await(ctx context.Context, places []place) {
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			if m.logs.unfinished(places) != "" {
				continue
			}
			if due, err := m.replays(ctx); err == nil && len(due) == 0 {
				return
			}
		}
	}
}

// addReplays adds the partitions in which dead letters are to be replayed.
func (m *member) addReplays(ctx context.Context) error {
	due, err := m.replays(ctx)
	if err != nil {
		return err
	}
	m.logs.mu.Lock()
	defer m.logs.mu.Unlock()
	for _, at := range due {
		m.logs.partition(at)
	}

	return nil
}

// replays are the partitions in which dead letters are to be replayed.
func (m *member) replays(ctx context.Context) ([]place, error) {
	rows, err := m.guard.Pool().Query(ctx, `SELECT DISTINCT d.topic, d.record_partition FROM idem.dead_letters d
		JOIN idem.consumers c ON c.id = d.consumer_id WHERE c.name = $1 AND d.state = 'replay'`, m.guard.Consumer())
	if err != nil {
		return nil, fmt.Errorf("look for replays: %w", err)
	}
	defer rows.Close()
	var due []place
	for rows.Next() {
		var at place
		if err := rows.Scan(&at.topic, &at.partition); err != nil {
			return nil, fmt.Errorf("look for replays: %w", err)
		}
		due = append(due, at)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look for replays: %w", err)
	}

	return due, nil
}
