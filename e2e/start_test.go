package e2e_test

import (
	"regexp"
	"sync/atomic"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/internal/offsetmark"
)

// startModes are the modes that note differently where a group begins.
var startModes = map[string]consume.Mode{"with checkpoints": consume.ByEventIDAndCheckpoint, "by event id": consume.ByEventID}

// The first member of a group ends when it can have begun in one partition and not in the other, whose leader does not
// answer. The next one takes none of what was there before, because the group begins in all partitions at once.
func TestGroupBeginsInAllPartitionsAtOnce(t *testing.T) {
	t.Parallel()
	for name, mode := range startModes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 2)
			s.broker.Write(t, s.topic, events(1000, 20, 2)...)
			atEnd := func(c *settings) { c.Mode, c.Start = mode, consume.FromLatest }
			s.beginWithoutLeader(t, s.topic, atEnd)
			m := s.start(t, atEnd)
			s.awaitCommitted(t, 20)
			s.broker.Write(t, s.topic, events(0, 10, 2)...)
			s.awaitEffects(t, 10)
			m.leave(t)
			s.verify(t, 10)
		})
	}
}

// The same with all topics that match a pattern: the leader of a partition of the second one does not answer.
func TestGroupBeginsInAllTopicsOfAPatternAtOnce(t *testing.T) {
	t.Parallel()
	for name, mode := range startModes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			prefix := broker.Name(t)
			a, b := prefix+".a", prefix+".b"
			s.create(t, a, 1)
			s.create(t, b, 2)
			s.broker.Write(t, a, events(1000, 10, 1)...)
			s.broker.Write(t, b, events(1010, 20, 2)...)
			atEnd := s.atEndOf(prefix, mode)
			s.beginWithoutLeader(t, a, atEnd)
			m := s.start(t, atEnd)
			until(t, "the group to begin", func() bool {
				begun := s.broker.Committed(t, s.group, b)

				return s.broker.Committed(t, s.group, a)[0] == 10 && begun[0] == 10 && begun[1] == 10
			})
			s.broker.Write(t, b, events(0, 10, 2)...)
			s.awaitEffects(t, 10)
			m.leave(t)
			s.verifyOnce(t, 10)
		})
	}
}

// A group that has come to a topic with another client, or by other settings, has begun: a topic of its pattern of which it knows nothing is
// read from its beginning.
func TestGroupOfAPatternThatHasBegunElsewhere(t *testing.T) {
	t.Parallel()
	for name, mode := range startModes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			prefix := broker.Name(t)
			for i, name := range []string{".a", ".b"} {
				s.create(t, prefix+name, 1)
				s.broker.Write(t, prefix+name, events(10*i, 10, 1)...)
			}
			response, err := s.broker.Client.OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{
				GroupID: s.group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{prefix + ".a": {{Offset: 10}}},
			})
			if err != nil || response.Topics[prefix+".a"][0].Error != nil {
				t.Fatal(response, err)
			}
			m := s.start(t, s.atEndOf(prefix, mode))
			s.awaitEffects(t, 10)
			m.leave(t)
			s.verifyOnce(t, 10)
		})
	}
}

// atEndOf has a group begin at the end of all topics with a prefix.
func (*bench) atEndOf(prefix string, mode consume.Mode) func(c *settings) {
	return func(c *settings) {
		c.Topics, c.TopicPattern = nil, regexp.MustCompile("^"+regexp.QuoteMeta(prefix)+`\.`)
		c.Mode, c.Start = mode, consume.FromLatest
	}
}

// beginWithoutLeader has a first member begin while no partition of number 1 has a leader, and end when it can have begun in the first one
// of a topic.
func (s *bench) beginWithoutLeader(t *testing.T, topic string, change func(c *settings)) {
	t.Helper()
	var (
		back    atomic.Bool
		refused atomic.Int32
	)
	s.broker.Fake.ControlKey(int16(kmsg.ListOffsets), func(request kmsg.Request) (kmsg.Response, error, bool) {
		s.broker.Fake.KeepControl()
		answer, second := leaderless(request)
		hit := second && !back.Load()
		if hit {
			refused.Add(1)
		}

		return answer, nil, hit
	})
	m := s.start(t, change)
	until(t, "the first partition to begin, or the other one not to", func() bool {
		return s.broker.Committed(t, s.group, topic)[0] == 10 || refused.Load() > 5
	})
	m.leave(t)
	back.Store(true)
}

// leaderless answers that no partition has a leader, and tells whether partition 1 was asked for.
func leaderless(request kmsg.Request) (*kmsg.ListOffsetsResponse, bool) {
	asked := request.(*kmsg.ListOffsetsRequest)                  //nolint:forcetypeassert // By its key.
	answer := request.ResponseKind().(*kmsg.ListOffsetsResponse) //nolint:forcetypeassert // By its key.
	second := false
	for _, topic := range asked.Topics {
		of := kmsg.NewListOffsetsResponseTopic()
		of.Topic = topic.Topic
		for _, p := range topic.Partitions {
			one := kmsg.NewListOffsetsResponseTopicPartition()
			one.Partition, one.ErrorCode = p.Partition, kerr.LeaderNotAvailable.Code
			of.Partitions = append(of.Partitions, one)
			second = second || p.Partition == 1
		}
		answer.Topics = append(answer.Topics, of)
	}

	return answer, second
}

// A group that has noted where it begins, and ended before Kafka knew it of each partition, begins there, once: not again
// when Kafka has forgotten its offsets.
func TestNotedStartServesOnce(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 2)
	s.broker.Write(t, s.topic, events(1000, 20, 2)...)
	byEventID := func(c *settings) { c.Mode, c.Start = consume.ByEventID, consume.FromLatest }
	s.start(t, byEventID).leaveAt(t, s, 20)
	if _, err := s.pool.Exec(t.Context(), `UPDATE idem.checkpoints SET epoch = 0, owner_token = NULL`); err != nil { // Nor did it come to end the notes.
		t.Fatal(err)
	}
	s.deleteGroup(t)
	response, err := s.broker.Client.OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{
		GroupID: s.group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{s.topic: {{Partition: 0, Offset: 10, Metadata: offsetmark.Mark}}},
	})
	if err != nil || response.Topics[s.topic][0].Error != nil {
		t.Fatal(response, err)
	}
	s.broker.Write(t, s.topic, events(0, 10, 2)...)
	s.start(t, byEventID).leaveAt(t, s, 30)
	s.verify(t, 10)

	s.deleteGroup(t)
	s.broker.Write(t, s.topic, events(2000, 10, 2)...)
	s.start(t, byEventID).leaveAt(t, s, 40) // At the end: nobody knows how far the group had come.
	s.verify(t, 10)
}

// A topic that matches the pattern of a group, and comes when the group has begun, is read from its beginning, also when it
// came while no member ran. Those that were there at first are read from where the group begins.
func TestTopicOfAPatternThatComesLater(t *testing.T) {
	t.Parallel()
	for name, mode := range startModes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			prefix := broker.Name(t)
			create := func(name string, first int) {
				t.Helper()
				s.create(t, prefix+name, 1)
				s.broker.Write(t, prefix+name, events(first, 10, 1)...)
			}
			create(".a", 1000)
			create(".b", 1010)
			atEnd := s.atEndOf(prefix, mode)
			m := s.start(t, atEnd)
			until(t, "the group to begin", func() bool {
				return s.broker.Committed(t, s.group, prefix+".a")[0] == 10 && s.broker.Committed(t, s.group, prefix+".b")[0] == 10
			})
			create(".c", 0)
			s.awaitEffects(t, 10)
			m.leave(t)
			create(".d", 10)
			m = s.start(t, atEnd)
			s.awaitEffects(t, 20)
			m.leave(t)
			if lines, distinct, err := s.effects(t.Context()); err != nil || lines != 20 || distinct != 20 {
				t.Errorf("%d events took effect %d times, %v; want 20 once", distinct, lines, err)
			}
		})
	}
}
