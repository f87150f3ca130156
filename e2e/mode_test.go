package e2e_test

import (
	"testing"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
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
