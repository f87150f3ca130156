package e2e_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/ops"
)

// A record holds its partition up. Skipped, it is passed over by the member that runs; asked for again, it is
// processed after all.
func TestSkippedRecordIsPassedOver(t *testing.T) {
	t.Parallel()
	for name, use := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			s.broker.Write(t, s.topic, events(0, 10, 1)...)
			var healed, held atomic.Bool
			var h heard
			m := s.start(t, func(c *settings) {
				h.config(c)
				c.Failure.Retry.MaxAttempts, c.Failure.Retry.LongestPause = 10_000, 20*time.Millisecond
				use(c, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
					if m.Offset == 3 && !healed.Load() {
						held.Store(true)

						return errors.New("locked")
					}

					return record(ctx, tx, m)
				})
			})
			place := ops.RecordPlace{Consumer: "test", Topic: s.topic, Partition: 0, Offset: 3}
			until(t, "the record to stand at the checkpoint", func() bool {
				_, err := s.operator(t).PlanSkip(t.Context(), ops.SkipTarget{RecordPlace: place})

				return err == nil && held.Load()
			})
			plan, err := s.operator(t).PlanSkip(t.Context(), ops.SkipTarget{RecordPlace: place, By: "alice", Reason: "of no use"})
			if err == nil {
				_, err = s.operator(t).Skip(t.Context(), plan)
			}
			if err != nil {
				t.Fatal(err)
			}
			s.awaitCommitted(t, 10)
			s.verifyOnce(t, 9)
			if !h.logged("the checkpoint was set") {
				t.Errorf("it said\n%s", h.log.String())
			}
			if got := s.letters(t); len(got) != 1 || got[0] != "3 discarded 0" {
				t.Errorf("dead letters %q", got)
			}
			if _, err := s.operator(t).Skip(t.Context(), plan); !errors.Is(err, ops.ErrNotNext) {
				t.Errorf("again: %v", err)
			}

			healed.Store(true)
			if _, err := s.operator(t).Reprocess(t.Context(), place); err != nil {
				t.Fatal(err)
			}
			s.awaitEffects(t, 10)
			m.leave(t)
			s.verifyOnce(t, 10)
		})
	}
}
