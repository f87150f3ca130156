package history

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// longestStory bounds what is told of one violation.
const longestStory = 60

// sentence is what happened at a time.
type sentence struct {
	at   time.Time
	text string
}

// storyOf tells all that is known of an event.
func (c *checker) storyOf(event string) []string {
	places := map[Place]bool{}
	var story []sentence
	for _, s := range c.run.Sent {
		if s.Event == event {
			story = append(story, sentence{s.At, s.tells()})
		}
	}
	for _, r := range c.run.Log {
		if r.Event == event {
			places[r.Place] = true
		}
	}
	for _, e := range c.effects[event] {
		places[e.Place] = true
	}
	for _, e := range c.run.Entries {
		if e.Event == event || slices.ContainsFunc(e.Offsets, func(offset int64) bool { return places[Place{e.Partition, offset}] }) {
			story = append(story, sentence{e.At, e.tells()})
		}
	}
	for _, charge := range c.run.Charges {
		if charge.Event == event {
			story = append(story, sentence{charge.At, fmt.Sprintf("the provider was asked by attempt %d with key %s: receipt %s", charge.Attempt, charge.Key, charge.Receipt)})
		}
	}
	told := c.inOrder(story)
	for _, e := range c.effects[event] {
		told = append(told, fmt.Sprintf("at the end: an effect of the record at %v, written in reign %s%s", e.Place, e.Reign, inBrackets(e.Letter)))
	}
	for _, p := range c.run.Published {
		if p.With.Event == event {
			told = append(told, fmt.Sprintf("at the end: a record through the outbox at %v, published as event %s in run %s", p.Place, p.Event, p.With.Run))
		}
	}
	for _, l := range c.letters[event] {
		told = append(told, fmt.Sprintf("at the end: a dead letter of the record at %v, which is %s", l.Place, l.State))
	}

	return told
}

// storyOfPartition tells what happened to a partition in a time.
func (c *checker) storyOfPartition(p Partition, from, to time.Time) []string {
	return c.storyWith(p, from, to, func(Entry) bool { return true })
}

// storyOfReigns tells of the owners of a partition only.
func (c *checker) storyOfReigns(p Partition, from, to time.Time) []string {
	return c.storyWith(p, from, to, func(e Entry) bool { return e.Kind == Acquired || e.Kind == GaveUp || e.Kind == Rewound })
}

func (c *checker) storyWith(p Partition, from, to time.Time, told func(Entry) bool) []string {
	within := func(at time.Time) bool { return !at.Before(from) && !at.After(to) }
	var story []sentence
	for _, e := range c.run.Entries {
		if e.Partition == p && within(e.At) && told(e) {
			story = append(story, sentence{e.At, e.tells()})
		}
	}
	checkpoint, committed := int64(-1), int64(-1)
	for _, s := range c.run.Seen {
		if s.Partition != p || !within(s.At) {
			continue
		}
		if s.Checkpoint >= 0 && s.Checkpoint != checkpoint {
			checkpoint = s.Checkpoint
			story = append(story, sentence{s.At, fmt.Sprint("the checkpoint is ", checkpoint, s.delay())})
		}
		if s.Committed >= 0 && s.Committed != committed {
			committed = s.Committed
			story = append(story, sentence{s.At, fmt.Sprint("the group's offset is ", committed, s.delay())})
		}
	}

	return c.inOrder(story)
}

// inOrder tells sentences by their time, with the faults of the database among them.
func (c *checker) inOrder(story []sentence) []string {
	if len(story) == 0 {
		return nil
	}
	for _, l := range c.run.Losses {
		story = append(story, sentence{l.To, fmt.Sprintf("%s: the database has lost what it committed since %s", l.How, clock(l.From))})
	}
	for _, e := range c.run.Elections {
		story = append(story, sentence{e.To, fmt.Sprintf("unclean election: the log of %v ends at %d, without what was sent since %s", e.Partition, e.End, clock(e.From))})
	}
	slices.SortStableFunc(story, func(a, b sentence) int { return a.at.Compare(b.at) })
	var told []string
	for i, s := range story {
		if i == longestStory/2 && len(story) > longestStory {
			told = append(told, fmt.Sprintf("… %d more …", len(story)-longestStory))
		}
		if i < longestStory/2 || i >= len(story)-longestStory/2 {
			told = append(told, clock(s.at)+" "+s.text)
		}
	}

	return told
}

func (s Sent) tells() string {
	if s.Fate == Acknowledged {
		return fmt.Sprintf("%s sent event %s with key %s, acknowledged at %v", s.Producer, s.Event, s.Key, s.Place)
	}

	return fmt.Sprintf("%s sent event %s with key %s to %v: %s", s.Producer, s.Event, s.Key, s.Partition, s.Fate)
}

func (e Entry) tells() string {
	if e.Event != "" {
		return fmt.Sprintf("%s %s event %s, attempt %d%s", e.Worker, e.Kind, e.Event, e.Try, inBrackets(e.Note))
	}

	return fmt.Sprintf("%s %s %v at %s%s%s", e.Worker, e.Kind, e.Partition, ranges(e.Offsets), inBrackets(e.Reign), inBrackets(cmp.Or(e.Note, e.Run)))
}

func inBrackets(text string) string {
	if text == "" {
		return ""
	}

	return " (" + text + ")"
}

// ranges are offsets as in "3-7, 9".
func ranges(offsets []int64) string {
	var text []string
	for i := 0; i < len(offsets); {
		last := i
		for last+1 < len(offsets) && offsets[last+1] == offsets[last]+1 {
			last++
		}
		if last == i {
			text = append(text, strconv.FormatInt(offsets[i], 10))
		} else {
			text = append(text, fmt.Sprintf("%d-%d", offsets[i], offsets[last]))
		}
		i = last + 1
	}

	return strings.Join(text, ", ")
}

func clock(at time.Time) string { return at.Format("15:04:05.000") }

// delay says how old an answer may be, if that matters.
func (s Seen) delay() string {
	if age := s.At.Sub(s.Asked); age >= time.Second {
		return fmt.Sprintf(" (or was, up to %v before)", age.Round(time.Millisecond))
	}

	return ""
}
