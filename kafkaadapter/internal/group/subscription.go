package group

import (
	"errors"
	"slices"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

// errUnreadable says that another member's bytes are not what they should be.
var errUnreadable = errors.New("they end too early or claim more than they hold")

// Subscription is what a member sends to the leader when it joins.
type Subscription struct {
	Topics   []string
	UserData []byte // of the member's assignor

	Owned      []TopicPartitions // since version 1: what the member holds on to, if it is a cooperative one
	Generation int32             // since version 2: in which it got that, or -1
	Rack       string            // since version 3
}

// TopicPartitions are partitions of one topic.
type TopicPartitions struct {
	Topic      string
	Partitions []int
}

// encode makes version 0, which all clients read. What later versions have is of no use to an
// eager member.
func (s Subscription) encode() []byte {
	var w wire.Writer
	w.Int16(0)
	w.Count(len(s.Topics))
	for _, topic := range s.Topics {
		w.Text(topic)
	}
	w.LongBytes(s.UserData)

	return w.Data
}

// DecodeSubscription reads a subscription of any version. Of an unknown version it reads the fields
// of the highest known one, because new fields come at the end. Fields that are missing at the end
// count as unset: kafka-go's ConsumerGroup claims version 1 and leaves them out.
func DecodeSubscription(data []byte) (Subscription, error) {
	r := &wire.Reader{Data: data}
	version := r.Int16()
	if version < 0 {
		r.Fail()
	}
	const leastName = 2
	s := Subscription{Generation: -1, Topics: make([]string, r.Count(leastName))}
	for i := range s.Topics {
		s.Topics[i] = r.Text()
	}
	s.UserData = slices.Clone(r.LongBytes())
	if version >= 1 && len(r.Data) > 0 {
		s.Owned = readTopicPartitions(r)
	}
	if version >= 2 && len(r.Data) > 0 {
		s.Generation = r.Int32()
	}
	if version >= 3 && len(r.Data) > 0 {
		s.Rack = r.Text()
	}
	if r.Bad {
		return Subscription{}, errUnreadable
	}

	return s, nil
}

// Assignment is what the leader sends to a member: its partitions.
type Assignment struct {
	Partitions []TopicPartitions
	UserData   []byte
}

// encode makes version 0. Later ones have the same fields.
func (a Assignment) encode() []byte {
	var w wire.Writer
	w.Int16(0)
	w.Count(len(a.Partitions))
	for _, t := range a.Partitions {
		w.Text(t.Topic)
		w.Count(len(t.Partitions))
		for _, p := range t.Partitions {
			w.Int32(int32(p)) //nolint:gosec // Kafka's partitions have 32 bits.
		}
	}
	w.LongBytes(a.UserData)

	return w.Data
}

// DecodeAssignment reads an assignment of any version. No bytes at all mean no partitions.
func DecodeAssignment(data []byte) (Assignment, error) {
	if len(data) == 0 {
		return Assignment{}, nil
	}
	r := &wire.Reader{Data: data}
	if r.Int16() < 0 {
		r.Fail()
	}
	a := Assignment{Partitions: readTopicPartitions(r)}
	if len(r.Data) > 0 {
		a.UserData = slices.Clone(r.LongBytes())
	}
	if r.Bad {
		return Assignment{}, errUnreadable
	}

	return a, nil
}

func readTopicPartitions(r *wire.Reader) []TopicPartitions {
	const leastTopic, leastPartition = 6, 4
	all := make([]TopicPartitions, 0, r.Count(leastTopic))
	for range cap(all) {
		t := TopicPartitions{Topic: r.Text(), Partitions: make([]int, r.Count(leastPartition))}
		for i := range t.Partitions {
			p := r.Int32()
			if p < 0 {
				r.Fail()
			}
			t.Partitions[i] = int(p)
		}
		if r.Bad {
			return nil
		}
		all = append(all, t)
	}

	return all
}
