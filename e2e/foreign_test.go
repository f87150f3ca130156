package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/lease"
)

// foreignErrors are what a handler gets from another guard, an owner or a lease that it works with.
var foreignErrors = []error{
	&idem.CollisionError{EventID: "payment"}, &idem.HandlerError{Err: &idem.CollisionError{EventID: "payment"}},
	idem.ErrFenced, idem.ErrRewound, idem.ErrCheckpointGone, idem.ErrInvalidEventID, idem.ErrInvalidMetadata, idem.ErrNotFound, idem.ErrNotParked,
	idem.ErrInvalidConfig, idem.ErrNotMigrated, idem.ErrConsumerClosed, &idem.EventError{Index: 3, Err: errPoison},
	&lease.LostError{EventID: "payment"}, &lease.UndecidedError{EventID: "payment", Err: errPoison}, consume.ErrUnreadable, consume.ErrHandlerTimeout,
}

// A handler works with another guard, or with a lease, and returns their errors. They say nothing about its own record and partition: the
// record is tried again, and stored, as with any other error.
func TestErrorsOfOthers(t *testing.T) {
	t.Parallel()
	records := int64(2 * len(foreignErrors))
	handle := func(_ context.Context, _ pgx.Tx, m consume.Message) error {
		if m.Offset%2 == 1 { // Too many in a row would halt the partition.
			return nil
		}

		return fmt.Errorf("charge: %w", foreignErrors[m.Offset/2])
	}
	for name, form := range forms() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			s.broker.Write(t, s.topic, events(0, int(records), 1)...)
			m := s.start(t, func(c *settings) {
				form(c)
				c.Failure.Retry.MaxAttempts = 2
				switch {
				case c.HandleBatch != nil:
					c.HandleBatch = eachOf(handle)
				case c.HandleQueue != nil:
					c.HandleQueue = func(ctx context.Context, _ *pgx.Batch, m consume.Message) error { return handle(ctx, nil, m) }
				default:
					c.Handle = handle
				}
			})
			s.awaitCommitted(t, records)
			m.leave(t)
			letters := s.letters(t)
			want := make([]string, len(foreignErrors))
			for i := range want {
				want[i] = fmt.Sprint(2*i, " open 2")
			}
			if !slices.Equal(letters, want) {
				t.Errorf("letters\n%s\nwant\n%s", strings.Join(letters, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// With StopOnFailure such an error ends Run, as any other does.
func TestErrorsOfOthersEndRun(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{"fenced": idem.ErrFenced, "rewound": idem.ErrRewound, "checkpoint gone": idem.ErrCheckpointGone} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			s.broker.Write(t, s.topic, events(0, 3, 1)...)
			ended := s.start(t, func(c *settings) {
				c.Failure.Policy, c.Failure.Retry.MaxAttempts = consume.StopOnFailure, 1
				c.Handle = func(context.Context, pgx.Tx, consume.Message) error { return fmt.Errorf("charge: %w", err) }
			}).wait(t)
			var failed *consume.RecordError
			if !errors.As(ended, &failed) || failed.Offset != 0 || !errors.Is(ended, err) {
				t.Errorf("Run returned %v", ended)
			}
		})
	}
}
