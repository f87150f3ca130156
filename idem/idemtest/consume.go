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

// Consume has a consumer process records as in production, but for Kafka: its engine is that of the
// adapters, with batches, retries, dead letters, replays and checkpoints. It returns when all records are
// done with and no dead letter is to be replayed; without records it processes the replays. If the consumer ends with an error, or is not done within a minute, the
// test fails.
//
// Each record takes the next offset of its partition, in the order of the records: given again in another
// call it is an event that was produced again. Topics that are empty are "events". Config is as in production;
// pauses of retries, CommitInterval and ReplayInterval are a few milliseconds by default.
func Consume(t testing.TB, guard *idem.Guard, config consume.Config, records ...consume.Record) Consumption {
	t.Helper()
	var (
		mu  sync.Mutex
		did Consumption
	)
	observe := config.Observe
	config.Observe = func(e consume.Event) {
		if observe != nil {
			observe(e)
		}
		mu.Lock()
		defer mu.Unlock()
		did.count(e)
	}
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

func (c *Consumption) count(e consume.Event) {
	switch e.Kind {
	case consume.EventProcessed:
		c.Processed += e.Records
	case consume.EventDuplicate:
		c.Duplicates += e.Records
	case consume.EventDeadLetter:
		c.DeadLetters++
	case consume.EventParked:
		c.Parked++
	case consume.EventReplayed:
		c.Replayed++
	case consume.EventAttemptFailed:
		c.FailedAttempts++
	default: // The others say nothing of what became of records.
	}
}
