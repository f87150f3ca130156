package e2e_test

import (
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/ops"
)

// shorten has the broker say that the only partition ends before the records that it has.
func (s *bench) shorten(end int64) (fetched *atomic.Int32) {
	fetched = new(atomic.Int32) // at the new end, in vain
	s.broker.Fake.ControlKey(int16(kmsg.ListOffsets), func(request kmsg.Request) (kmsg.Response, error, bool) {
		s.broker.Fake.KeepControl()
		r := request.(*kmsg.ListOffsetsRequest)                  //nolint:forcetypeassert // It is what the key says.
		response := r.ResponseKind().(*kmsg.ListOffsetsResponse) //nolint:forcetypeassert // It is what the key says.
		topic := kmsg.NewListOffsetsResponseTopic()
		topic.Topic = r.Topics[0].Topic
		for _, p := range r.Topics[0].Partitions {
			partition := kmsg.NewListOffsetsResponseTopicPartition()
			partition.Partition, partition.Timestamp = p.Partition, p.Timestamp
			if partition.Offset = end; p.Timestamp != -1 {
				partition.Offset = 0
			}
			topic.Partitions = append(topic.Partitions, partition)
		}
		response.Topics = append(response.Topics, topic)

		return response, nil, true
	})
	s.broker.Fake.ControlKey(int16(kmsg.Fetch), func(request kmsg.Request) (kmsg.Response, error, bool) {
		s.broker.Fake.KeepControl()
		r := request.(*kmsg.FetchRequest) //nolint:forcetypeassert // It is what the key says.
		if len(r.Topics) != 1 {
			return nil, nil, false //nolint:nilnil // The broker is to answer as ever.
		}
		response := r.ResponseKind().(*kmsg.FetchResponse) //nolint:forcetypeassert // It is what the key says.
		topic, partition := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
		topic.Topic, topic.TopicID, partition.HighWatermark, partition.LastStableOffset = r.Topics[0].Topic, r.Topics[0].TopicID, end, end
		if r.Topics[0].Partitions[0].FetchOffset > end {
			partition.ErrorCode = kerr.OffsetOutOfRange.Code
		} else {
			letPass(5 * time.Millisecond) // The broker waits for records to come.
			fetched.Add(1)
		}
		topic.Partitions = append(topic.Partitions, partition)
		response.Topics = append(response.Topics, topic)

		return response, nil, true
	})

	return fetched
}

// The log loses its end under a running member: it ends at 15 where 20 records were processed. The policy
// sets the checkpoint back to 15, and there it stays until other records come in the places 15 to 19, which
// else count as processed.
func TestCheckpointThatIsSetBackStaysThere(t *testing.T) {
	t.Parallel()
	for _, lanes := range []int{1, 2} {
		t.Run(strconv.Itoa(lanes), func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			s.broker.Write(t, s.topic, events(0, 20, 1)...)
			s.start(t, nil).leaveAt(t, s, 20)
			var h heard
			m := s.start(t, func(c *settings) {
				inLanes(lanes, nil)(c)
				c.OnOutOfRange, c.CommitInterval = consume.SkipToEarliest, 10*time.Millisecond
				h.config(c)
			})
			until(t, "the partition to be assigned", func() bool { return h.assignments() == 1 })
			fetched := s.shorten(15)
			until(t, "the member to wait at the new end", func() bool { return fetched.Load() >= 50 })
			m.leave(t)
			if told := h.of(consume.EventSkipped); len(told) != 1 || told[0].Offset != 15 {
				t.Errorf("it said %+v", told)
			}
			if got := s.checkpoint(t); got != 15 {
				t.Errorf("the checkpoint is at %d, want 15", got)
			}
			if got := s.committed(t); got != 15 {
				t.Errorf("the group is at %d, want 15", got)
			}
		})
	}
}

// Where the checkpoint has moved over records, that is told even if the partition is revoked before the group has that offset: the next owner
// begins at the checkpoint, and would not tell.
func TestSkipIsToldBeforeTheGroupHasIt(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 20, 1)...)
	s.start(t, nil).leaveAt(t, s, 20)
	s.shorten(15)
	s.broker.Fake.ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
		s.broker.Fake.KeepControl()

		return nil, errors.New("the connection breaks"), true
	})
	var h heard
	m := s.start(t, func(c *settings) {
		c.OnOutOfRange = consume.SkipToEarliest
		h.config(c)
	})
	until(t, "the checkpoint to be set back", func() bool { return s.checkpoint(t) == 15 })
	m.leave(t)
	if told := h.of(consume.EventSkipped); len(told) != 1 || told[0].Offset != 15 {
		t.Errorf("it said %+v", told)
	}
}

// reset sets the checkpoints of the topic, as an operator does.
func (s *bench) reset(t *testing.T, to int64) {
	t.Helper()
	client := s.operator(t)
	plan, err := client.PlanReset(t.Context(), ops.CheckpointTarget{Consumer: "test", Topic: s.topic, NextOffset: to})
	if err == nil {
		_, err = client.ResetCheckpoints(t.Context(), plan)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The checkpoint is set back, and owners end before they have told Kafka: the database has lost nothing, and nobody
// says so.
func TestResetIsNoRewindThoughOwnersEnd(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 20, 1)...)
	s.start(t, nil).leaveAt(t, s, 20)
	guard, err := idem.New(s.pool, idem.Config{Consumer: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ends := func() *idem.Owner {
		o, err := guard.Acquire(t.Context(), idem.Partition{Topic: s.topic}, idem.AcquireOptions{})
		if err != nil {
			t.Fatal(err)
		}

		return o
	}
	for name, reset := range map[string]func(){
		"an operator's": func() { s.reset(t, 10) },
		"an owner's": func() {
			if err := ends().Reset(t.Context(), 10); err != nil {
				t.Fatal(err)
			}
		},
	} {
		reset()
		ends()
		ends()
		var h heard
		m := s.start(t, func(c *settings) { c.OnDatabaseRewind = consume.FailOnRewind; h.config(c) })
		until(t, "the checkpoint to come to the end of the log", func() bool { return s.checkpoint(t) == 20 })
		s.awaitCommitted(t, 20)
		m.leave(t)
		if told := h.of(consume.EventRewound); len(told) != 0 || !h.logged("the checkpoint was set") {
			t.Errorf("%s reset: it told of %+v and said\n%s", name, told, h.log.String())
		}
	}
	s.goBack(t, 10) // The next one is none.
	if err := s.start(t, func(c *settings) { c.OnDatabaseRewind = consume.FailOnRewind }).wait(t); !errors.Is(err, idem.ErrRewound) {
		t.Errorf("Run returned %v", err)
	}
}
