package ops

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/db"
)

// atOnce is how many ids go to the database before progress is told.
const atOnce = 1000

// DeadLetterResult says what became of the dead letters of a plan.
type DeadLetterResult struct {
	DeadLetters int          `json:"dead_letters"` // that were to be changed
	Changed     int64        `json:"changed"`
	Unchanged   []DeadLetter `json:"unchanged"` // because of the states that they have, or because they were changed since the plan
	Unknown     []string     `json:"unknown"`
	Complete    bool         `json:"complete"`
}

// ReplayDeadLetters requests that the dead letters of a plan are processed again. The consumers that own their
// partitions do so within seconds, if they run. A dead letter that fails again is open again; parked ones
// behind it follow by themselves. A dead letter that somebody else has changed since the plan, or that has failed
// anew, is left alone and reported.
func (c *Client) ReplayDeadLetters(ctx context.Context, plan DeadLetterPlan, progress Progress) (DeadLetterResult, error) {
	return c.changeDeadLetters(ctx, plan, progress, func(consumer int64, of []DeadLetter) (changed []uuid.UUID, err error) {
		seen := seenOf(of)
		err = c.retry(ctx, func() (err error) {
			changed, err = c.queries.DeadLetterReplay(ctx, c.conn, db.DeadLetterReplayParams{ConsumerID: consumer, Ids: seen.ids, FailedMicros: seen.failed})

			return err
		})

		return changed, err
	})
}

// DiscardDeadLetters discards the dead letters of a plan for ever: they are never processed, and their events
// stay marked. The next parked ones of their keys are then processed. If a dead letter is being processed,
// the call waits, and discards it only if that fails. A dead letter that somebody else has changed since the
// plan, or that has failed anew, is left alone and reported.
func (c *Client) DiscardDeadLetters(ctx context.Context, plan DeadLetterPlan, progress Progress) (DeadLetterResult, error) {
	// Those of a key from its end: one that waits behind another of the plan must go before that releases it.
	plan.DeadLetters = slices.SortedFunc(slices.Values(plan.DeadLetters), func(a, b DeadLetter) int {
		return cmp.Or(cmp.Compare(b.Offset, a.Offset), bytes.Compare(b.ID[:], a.ID[:]))
	})

	return c.changeDeadLetters(ctx, plan, progress, func(consumer int64, of []DeadLetter) (changed []uuid.UUID, err error) {
		seen := seenOf(of)
		err = c.retry(ctx, func() error {
			return c.in(ctx, func(conn db.DBTX) (err error) {
				if err := c.queries.DeadLetterLockKeys(ctx, conn, db.DeadLetterLockKeysParams{ConsumerID: consumer, Ids: seen.ids}); err != nil {
					return err
				}
				changed, err = c.queries.DeadLetterDiscard(ctx, conn, db.DeadLetterDiscardParams{
					ConsumerID: consumer, Ids: seen.ids, States: seen.states, FailedMicros: seen.failed,
				})
				if err == nil {
					_, err = c.queries.DeadLetterRelease(ctx, conn, db.DeadLetterReleaseParams{ConsumerID: consumer, Ids: seen.ids})
				}

				return err
			})
		})

		return changed, err
	})
}

// seen are dead letters as a plan has seen them: with other states or times by now, somebody else has changed them.
type seen struct {
	ids, states []string
	failed      []int64 // microseconds
}

func seenOf(list []DeadLetter) seen {
	s := seen{ids: idsOf(list), states: make([]string, len(list)), failed: make([]int64, len(list))}
	for i, letter := range list {
		s.states[i], s.failed[i] = string(letter.State), noTime
		if letter.FailedAt != nil {
			s.failed[i] = letter.FailedAt.UnixMicro()
		}
	}

	return s
}

// changeDeadLetters changes the dead letters of a plan, those of one consumer at a time. Change returns the
// ids of those that it has changed.
func (c *Client) changeDeadLetters(
	ctx context.Context, plan DeadLetterPlan, progress Progress, change func(consumer int64, of []DeadLetter) ([]uuid.UUID, error),
) (DeadLetterResult, error) {
	r := DeadLetterResult{DeadLetters: len(plan.DeadLetters), Unchanged: append([]DeadLetter{}, plan.Unchanged...), Unknown: append([]string{}, plan.Unknown...)}
	var left []string
	err := inParts(plan.DeadLetters, progress, func(part []DeadLetter) error {
		for _, of := range byConsumer(part) {
			consumer, err := c.consumer(ctx, of[0].Consumer)
			if err != nil {
				return err
			}
			changed, err := change(consumer.id, of)
			if err != nil {
				return c.failed(ctx, "change the dead letters", err)
			}
			r.Changed += int64(len(changed))
			for _, letter := range of {
				if !slices.Contains(changed, letter.ID) {
					left = append(left, letter.ID.String())
				}
			}
		}

		return nil
	})
	if err != nil {
		return r, err
	}
	others, err := c.byID(ctx, left) // Somebody else was faster.
	r.Unchanged = append(r.Unchanged, others...)
	r.Complete = err == nil

	return r, err
}

// inParts works through many of them and tells how far it has come.
func inParts[T any](all []T, progress Progress, work func(part []T) error) error {
	done := 0
	progress.tell(0, int64(len(all)))
	for part := range slices.Chunk(all, atOnce) {
		if err := work(part); err != nil {
			return err
		}
		done += len(part)
		progress.tell(int64(done), int64(len(all)))
	}

	return nil
}
