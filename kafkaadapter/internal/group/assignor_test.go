package group

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"
)

func TestRange(t *testing.T) {
	t.Parallel()
	members := []groupMember{
		{"c", "", []string{"five", "one"}},
		{"a", "", []string{"five"}},
		{"z", "static", []string{"five", "one", "five", "gone"}},
		{"b", "", nil}, // Its subscription could not be read.
	}
	got := assignRange(members, map[string]int{"five": 5, "one": 1})
	want := map[string][]TopicPartitions{
		"z": {{"five", []int{0, 1}}, {"one", []int{0}}},
		"a": {{"five", []int{2, 3}}},
		"c": {{"five", []int{4}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("dealt out %v, want %v", got, want)
	}
	if topics := topicsOf(members); !slices.Equal(topics, []string{"five", "gone", "one"}) {
		t.Error(topics)
	}
}

// Each partition is dealt out once, to somebody who subscribes to its topic, and nobody has two more of a
// topic than another.
func TestRangeIsFair(t *testing.T) {
	t.Parallel()
	for range 200 {
		members, counts := make([]groupMember, 1+rand.IntN(8)), make(map[string]int)
		for topic := range 5 {
			counts[strconv.Itoa(topic)] = rand.IntN(20)
		}
		for i := range members {
			members[i].id = strconv.Itoa(rand.Int())
			if rand.IntN(2) == 0 {
				members[i].instance = strconv.Itoa(rand.Int())
			}
			for topic := range counts {
				if rand.IntN(3) > 0 {
					members[i].topics = append(members[i].topics, topic)
				}
			}
		}
		dealt := make(map[string][]int)
		sizes := make(map[string][]int)
		for id, own := range assignRange(members, counts) {
			m := members[slices.IndexFunc(members, func(m groupMember) bool { return m.id == id })]
			for _, o := range own {
				if !slices.Contains(m.topics, o.Topic) {
					t.Errorf("%s got %v, subscribed to %v", id, o, m.topics)
				}
				dealt[o.Topic] = append(dealt[o.Topic], o.Partitions...)
				sizes[o.Topic] = append(sizes[o.Topic], len(o.Partitions))
			}
		}
		for _, topic := range topicsOf(members) {
			slices.Sort(dealt[topic])
			want := make([]int, counts[topic])
			for i := range want {
				want[i] = i
			}
			if !slices.Equal(dealt[topic], want) {
				t.Errorf("topic %s of %d partitions: %v", topic, counts[topic], dealt[topic])
			}
			if s := sizes[topic]; len(s) > 0 && slices.Max(s)-slices.Min(s) > 1 {
				t.Errorf("topic %s: shares %v", topic, s)
			}
		}
	}
}

func TestDigestTellsPartitions(t *testing.T) {
	t.Parallel()
	topics := []string{"a", "b"}
	g := &Generation{topics: topics, digest: digest(topics, map[string]int{"a": 1, "b": 2})}
	for _, test := range []struct {
		counts  map[string]int
		undealt bool
	}{
		{map[string]int{"a": 1, "b": 2, "other": 7}, false},
		{map[string]int{"a": 2, "b": 2}, true},
		{map[string]int{"a": 2, "b": 1}, true},
		{map[string]int{"a": 1}, true},
	} {
		if got := g.Undealt(test.counts); got != test.undealt {
			t.Errorf("%v: %v", test.counts, got)
		}
	}
	if (&Generation{topics: topics}).Undealt(nil) {
		t.Error("what was dealt out is not known")
	}
}
