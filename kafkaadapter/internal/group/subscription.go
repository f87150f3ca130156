package group

import (
	"errors"
	"slices"
)

// errUnreadable says that another member's bytes are not what they should be.
var errUnreadable = errors.New("they end too early or claim more than they hold")

// Subscription is what a member tells the leader when it joins.
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
	var w writer
	w.int16(0)
	w.count(len(s.Topics))
	for _, topic := range s.Topics {
		w.string(topic)
	}
	w.longBytes(s.UserData)

	return w.data
}

// DecodeSubscription reads a subscription of any version. Of those that are not known yet it reads
// what the highest known one has: new fields come at the end. Fields that are missing at the end
// are taken for unset: kafka-go's ConsumerGroup claims version 1 and leaves them out.
func DecodeSubscription(data []byte) (Subscription, error) {
	r := &reader{data: data}
	version := r.int16()
	if version < 0 {
		r.fail()
	}
	const leastName = 2
	s := Subscription{Generation: -1, Topics: make([]string, r.count(leastName))}
	for i := range s.Topics {
		s.Topics[i] = r.string()
	}
	s.UserData = slices.Clone(r.longBytes())
	if version >= 1 && len(r.data) > 0 {
		s.Owned = r.topicPartitions()
	}
	if version >= 2 && len(r.data) > 0 {
		s.Generation = r.int32()
	}
	if version >= 3 && len(r.data) > 0 {
		s.Rack = r.string()
	}
	if r.bad {
		return Subscription{}, errUnreadable
	}

	return s, nil
}

// Assignment is what the leader tells a member: which partitions are its own.
type Assignment struct {
	Partitions []TopicPartitions
	UserData   []byte
}

// encode makes version 0. Later ones have the same fields.
func (a Assignment) encode() []byte {
	var w writer
	w.int16(0)
	w.count(len(a.Partitions))
	for _, t := range a.Partitions {
		w.string(t.Topic)
		w.count(len(t.Partitions))
		for _, p := range t.Partitions {
			w.int32(int32(p)) //nolint:gosec // Kafka's partitions have 32 bits.
		}
	}
	w.longBytes(a.UserData)

	return w.data
}

// DecodeAssignment reads an assignment of any version. No bytes at all mean no partitions.
func DecodeAssignment(data []byte) (Assignment, error) {
	if len(data) == 0 {
		return Assignment{}, nil
	}
	r := &reader{data: data}
	if r.int16() < 0 {
		r.fail()
	}
	a := Assignment{Partitions: r.topicPartitions()}
	if len(r.data) > 0 {
		a.UserData = slices.Clone(r.longBytes())
	}
	if r.bad {
		return Assignment{}, errUnreadable
	}

	return a, nil
}

func (r *reader) topicPartitions() []TopicPartitions {
	const leastTopic, leastPartition = 6, 4
	all := make([]TopicPartitions, 0, r.count(leastTopic))
	for range cap(all) {
		t := TopicPartitions{Topic: r.string(), Partitions: make([]int, r.count(leastPartition))}
		for i := range t.Partitions {
			p := r.int32()
			if p < 0 {
				r.fail()
			}
			t.Partitions[i] = int(p)
		}
		if r.bad {
			return nil
		}
		all = append(all, t)
	}

	return all
}
