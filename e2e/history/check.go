package history

import (
	"cmp"
	"fmt"
	"slices"
)

// Rule is a promise that can be broken. The package's documentation says what each one is.
type Rule string

// The rules.
const (
	Stalled   Rule = "stalled"
	Lost      Rule = "lost"
	Doubled   Rule = "doubled"
	Phantom   Rule = "phantom"
	Torn      Rule = "torn"
	Reordered Rule = "reordered"
	Both      Rule = "both stored and applied"
	Back      Rule = "checkpoint went back"
	Untold    Rule = "rewind not told"
	Alarmed   Rule = "rewind told without a loss"
	Early     Rule = "offset committed early"
	Usurped   Rule = "former owner took effect"
	Undecided Rule = "former owners not excluded"

	Renamed    Rule = "repeated under another id"
	Uncounted  Rule = "effect without an attempt"
	Overridden Rule = "completed without the token"
	Resettled  Rule = "completed twice"
	Recharged  Rule = "charged twice"
)

// Violation is a promise that was broken.
type Violation struct {
	Rule  Rule     `json:"rule"`
	Says  string   `json:"says"`
	Story []string `json:"story"` // of the event or the partition concerned, in sentences
}

// Verdict is what is wrong with a run.
type Verdict []Violation

// Count tells how often a rule was broken.
func (v Verdict) Count(rule Rule) (n int) {
	for _, violation := range v {
		if violation.Rule == rule {
			n++
		}
	}

	return n
}

// Check judges a run.
func Check(run Run) Verdict {
	c := newChecker(run)
	for _, rule := range []func(){
		c.stalled, c.lost, c.doubled, c.phantom, c.torn, c.reordered, c.both, c.back, c.untold, c.alarmed, c.early, c.usurped,
		c.unpublished, c.unfounded, c.overtaken, c.renamed,
		c.uncounted, c.overridden, c.resettled, c.recharged,
	} {
		rule()
	}

	return c.verdict
}

// checker has a run in the orders in which the rules need it.
type checker struct {
	run      Run // with the entries sorted by time
	records  map[Place]Record
	events   []string // of the log, each once
	effects  map[string][]Effect
	letters  map[string][]Letter
	gone     map[string]string // keys by event
	fleeting map[string]bool   // topics that were deleted
	dropped  map[Record]int    // by Kafka: in which of the elections, from 1 on
	verdict  Verdict
}

func newChecker(run Run) *checker {
	c := &checker{
		run: run, records: map[Place]Record{}, effects: map[string][]Effect{}, letters: map[string][]Letter{},
		gone: map[string]string{}, fleeting: map[string]bool{}, dropped: map[Record]int{},
	}
	for _, r := range run.Gone {
		c.gone[r.Event], c.fleeting[r.Topic] = r.Key, true
	}
	c.run.Entries = slices.SortedStableFunc(slices.Values(run.Entries), func(a, b Entry) int { return a.At.Compare(b.At) })
	c.run.Seen = slices.SortedStableFunc(slices.Values(run.Seen), func(a, b Seen) int { return a.At.Compare(b.At) })
	c.run.Log = slices.SortedFunc(slices.Values(run.Log), func(a, b Record) int { return comparePlaces(a.Place, b.Place) })
	known := map[string]bool{}
	for _, r := range c.run.Log {
		c.records[r.Place] = r
		if !known[r.Event] {
			known[r.Event] = true
			c.events = append(c.events, r.Event)
		}
	}
	c.findDropped()
	for _, e := range run.Tables.Effects {
		c.effects[e.Event] = append(c.effects[e.Event], e)
	}
	for _, l := range run.Tables.Letters {
		c.letters[l.Event] = append(c.letters[l.Event], l)
	}

	return c
}

func comparePlaces(a, b Place) int {
	return cmp.Or(comparePartitions(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
}

func comparePartitions(a, b Partition) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

func (c *checker) stalled() {
	if c.run.Stalled != "" {
		c.breakf(Stalled, nil, "%s", c.run.Stalled)
	}
}

func (c *checker) breakf(rule Rule, story []string, format string, args ...any) {
	c.verdict = append(c.verdict, Violation{Rule: rule, Says: fmt.Sprintf(format, args...), Story: story})
}

// String is as in "orders/3".
func (p Partition) String() string { return fmt.Sprintf("%s/%d", p.Topic, p.Partition) }

// String is as in "orders/3@17".
func (p Place) String() string { return fmt.Sprintf("%v@%d", p.Partition, p.Offset) }
