package group

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

// assignorName is how all clients call the range assignor.
const assignorName = "range"

// groupMember is another member as the leader sees it.
type groupMember struct {
	id       string
	instance string // of a static member
	topics   []string
}

// compareMembers is the order in which Java's RangeAssignor deals: static members first, by their
// instance, so that they get the same partitions again under another member id.
func compareMembers(a, b groupMember) int {
	switch {
	case a.instance != "" && b.instance != "":
		return cmp.Compare(a.instance, b.instance)
	case a.instance != "":
		return -1
	case b.instance != "":
		return 1
	default:
		return cmp.Compare(a.id, b.id)
	}
}

// assignRange assigns the partitions: each subscriber of a topic gets a range of its partitions, and
// the first subscribers get one more if the number does not divide evenly.
func assignRange(members []groupMember, counts map[string]int) map[string][]TopicPartitions {
	subscribers := make(map[string][]groupMember)
	for _, m := range slices.SortedFunc(slices.Values(members), compareMembers) {
		for _, topic := range slices.Compact(slices.Sorted(slices.Values(m.topics))) {
			subscribers[topic] = append(subscribers[topic], m)
		}
	}
	dealt := make(map[string][]TopicPartitions, len(members))
	for _, topic := range slices.Sorted(maps.Keys(subscribers)) {
		subscribed := subscribers[topic]
		each, more := counts[topic]/len(subscribed), counts[topic]%len(subscribed)
		next := 0
		for i, m := range subscribed {
			n := each
			if i < more {
				n++
			}
			if n == 0 {
				break
			}
			own := TopicPartitions{Topic: topic, Partitions: make([]int, n)}
			for j := range own.Partitions {
				own.Partitions[j] = next + j
			}
			next += n
			dealt[m.id] = append(dealt[m.id], own)
		}
	}

	return dealt
}

// topicsOf are the topics that any of the members subscribes to, sorted.
func topicsOf(members []groupMember) []string {
	var all []string
	for _, m := range members {
		all = append(all, m.topics...)
	}
	slices.Sort(all)

	return slices.Compact(all)
}

// digest is a hash of the numbers of partitions that were assigned. It is sent with the
// assignments, so that a static leader that was restarted knows what it had assigned.
func digest(topics []string, counts map[string]int) []byte {
	h := fnv.New64a()
	for _, topic := range topics {
		var w wire.Writer
		w.Text(topic)
		w.Count(counts[topic])
		_, _ = h.Write(w.Data) // It returns no errors.
	}

	return binary.BigEndian.AppendUint64([]byte(digestMark), h.Sum64())
}

// digestMark distinguishes a digest from what other clients' leaders write.
const digestMark = "idem/1"
