package idemtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// Consumption is what became of the records that Consume was given.
type Consumption struct {
	Processed      int // that took effect
	Duplicates     int // whose events were processed before
	DeadLetters    int // that were stored as dead letters, replays that failed included
	Parked         int // that were stored behind a dead letter of their key
	Replayed       int // dead letters that took effect
	FailedAttempts int // runs of handlers that failed and were repeated

	// Copies are the records that were produced to other topics (consume.FailureConfig.DeadLetterSuffix).
	Copies []consume.Record

	// Stopped is the error with which the consumer ended at a record (consume.StopOnFailure), or nil.
	Stopped *consume.RecordError
}

// Consume runs a consumer that processes records as in production, without Kafka: it uses the engine of the
// adapters, with batches, retries, dead letters, replays and checkpoints. It returns when all records are
// processed or stored and no dead letter is to be replayed; without records it processes only the replays.
// If the consumer ends with an error, or is not done within a minute, the test fails.
//
// Each record gets the next offset of its partition, in the order of the records. A record that is passed
// again in another call is an event that was produced again. An empty topic means "events". Config is as in
// production, but pauses of retries, CommitInterval and ReplayInterval are a few milliseconds by default.
func Consume(t testing.TB, guard *idem.Guard, config consume.Config, records ...consume.Record) Consumption {
	t.Helper()
	var (
		mu  sync.Mutex
		did Consumption
	)
	config.Hooks = counting(config.Hooks, func(count func(*Consumption)) {
		mu.Lock()
		defer mu.Unlock()
		count(&did)
	})
	l := newLogs(records)
	m, err := newMember(guard, config, l)
	if err != nil {
		t.Fatalf("idemtest: %v", err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, fmt.Errorf("it took longer than %v", patience))
	defer cancel()
	err = m.run(ctx)
	if errors.As(err, &did.Stopped) && m.config.Failure.Policy == consume.StopOnFailure {
		err = nil
	}
	if err != nil {
		t.Fatalf("idemtest: the consumer %q: %v", guard.Consumer(), err)
	}
	did.Copies = l.copies

	return did
}

// counting adds to hooks that they count what becomes of records.
func counting(hooks consume.Hooks, do func(count func(*Consumption))) consume.Hooks {
	tried, happened := hooks.Process.End, hooks.Event
	hooks.Process.End = func(ctx context.Context, begin consume.ProcessBegin, end consume.ProcessEnd) {
		if tried != nil {
			tried(ctx, begin, end)
		}
		do(func(c *Consumption) {
			switch begin.Kind {
			case idem.OpProcess, idem.OpBatch:
				c.Processed += end.Processed
				c.Duplicates += end.Duplicates
			case idem.OpReplay:
				c.Replayed += end.Processed
			default: // What is stored is an event, too.
			}
		})
	}
	hooks.Event = func(ctx context.Context, e consume.Event) {
		if happened != nil {
			happened(ctx, e)
		}
		do(func(c *Consumption) {
			switch e.Kind {
			case consume.EventDeadLetter:
				c.DeadLetters++
			case consume.EventParked:
				c.Parked++
			case consume.EventRetry:
				c.FailedAttempts++
			default: // The others say nothing of what became of records.
			}
		})
	}

	return hooks
}
