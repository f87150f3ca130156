package e2e_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
)

// The mode is changed to the one without checkpoints after a crash: where the group's offset was committed
// with a checkpoint, that one tells where to go on, be it ahead of the group (the crash came before the
// commit) or behind it (the database went back).
func TestModeWithoutCheckpointsGoesOnAtTheCheckpoint(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before consume.Mode
		group  int64 // where it is after the crash
		goBack int
	}{
		"ahead":  {consume.ByCheckpoint, 10, 20},
		"behind": {consume.ByEventIDAndCheckpoint, 20, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			s.broker.Write(t, s.topic, events(0, 20, 1)...)
			s.start(t, func(c *settings) { c.Mode = test.before }).leaveAt(t, s, 20)
			_, err := s.broker.Client.OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{
				GroupID: s.group, GenerationID: -1,
				Topics: map[string][]kafka.OffsetCommit{s.topic: {{Offset: test.group, Metadata: "idem/1 token=00000000-0000-4000-8000-000000000000"}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			s.goBack(t, test.goBack)
			s.broker.Write(t, s.topic, events(20, 5, 1)...)
			for _, n := range []int{25, 30} {
				m := s.start(t, func(c *settings) { c.Mode = consume.ByEventID })
				s.awaitCommitted(t, int64(n))
				m.leave(t)
				s.verifyPlaces(t, n)
				if _, err := s.owner.Exec(t.Context(), `DELETE FROM idem.checkpoints`); err != nil { // From now on nobody needs it.
					t.Fatal(err)
				}
				s.broker.Write(t, s.topic, events(n, 5, 1)...)
			}
		})
	}
}

// Lanes have processed records beyond the checkpoint when a member leaves in order, and only event ids tell which: the mode
// without them is refused until the checkpoint is there.
func TestModeWithoutEventIDsIsRefusedBehindLanes(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 40, 1)...)
	m := s.start(t, func(c *settings) {
		c.Lanes.Count, c.DrainTimeout = 8, time.Second
		c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			if m.Offset == 0 {
				<-ctx.Done()

				return ctx.Err()
			}

			return record(ctx, tx, m)
		}
	})
	s.awaitEffects(t, 20) // How many keys share the lane of the first one is up to chance.
	m.leave(t)
	byCheckpoint := func(c *settings) { c.Mode = consume.ByCheckpoint }
	for range 2 {
		if err := s.start(t, byCheckpoint).wait(t); !errors.Is(err, idem.ErrInvalidConfig) || !strings.Contains(err.Error(), "lanes have processed") {
			t.Errorf("Run returned %v", err)
		}
	}
	s.start(t, nil).leaveAt(t, s, 40)
	s.broker.Write(t, s.topic, events(40, 5, 1)...)
	s.start(t, byCheckpoint).leaveAt(t, s, 45)
	s.verifyPlaces(t, 45)

	s.reset(t, 10) // What lanes have done ahead of a checkpoint that was set back is to be done again.
	m = s.start(t, byCheckpoint)
	until(t, "the checkpoint to come to the end", func() bool { return s.checkpoint(t) == 45 })
	m.leave(t)
}

// Nothing tells what mode ByEventID has processed beyond the group's offset. A member without event ids says so.
func TestModeWithoutEventIDsBehindTheOneWithoutCheckpoints(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 20, 1)...)
	s.start(t, func(c *settings) { c.Mode = consume.ByEventID }).leaveAt(t, s, 20)
	s.broker.Write(t, s.topic, events(20, 5, 1)...)
	var h heard
	s.start(t, func(c *settings) {
		h.config(c)
		c.Mode = consume.ByCheckpoint
	}).leaveAt(t, s, 25)
	s.verifyPlaces(t, 25)
	if !h.logged("the mode was ByEventID") {
		t.Errorf("it said\n%s", h.log.String())
	}
}
