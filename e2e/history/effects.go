package history

import (
	"maps"
	"slices"
)

// The rules about effects: what is in the tables at the end, against what is in the logs.

func (c *checker) lost() {
	for _, event := range c.events {
		if len(c.effects[event]) == 0 && !c.waits(event) {
			c.breakf(Lost, c.storyOf(event), "event %s is in the log, and has neither an effect nor a dead letter that waits", event)
		}
	}
	for _, s := range c.run.Sent {
		if s.Fate == Acknowledged && c.records[s.Place].Event != s.Event && c.dropped[s.Record] == 0 {
			c.breakf(Lost, c.storyOf(s.Event), "event %s was acknowledged at %v, where the log does not have it", s.Event, s.Place)
		}
	}
}

// waits tells whether an event has a dead letter with which its way ends: one that waits for somebody, or was given up.
func (c *checker) waits(event string) bool {
	for _, l := range c.letters[event] {
		switch l.State {
		case "open", "parked", "replay", "discarded", "expired":
			return true
		}
	}

	return false
}

func (c *checker) doubled() {
	for event, effects := range c.effects {
		if len(effects) > 1 {
			c.breakf(Doubled, c.storyOf(event), "event %s took effect %d times", event, len(effects))
		}
	}
}

func (c *checker) phantom() {
	for _, e := range c.run.Tables.Effects {
		switch r, there := c.records[e.Place]; {
		case c.fleeting[e.Topic] && c.gone[e.Event] == e.Key, c.dropped[e.Record] > 0:
		case !there:
			c.breakf(Phantom, c.storyOf(e.Event), "event %s took effect as the record at %v, which no reader of committed records finds", e.Event, e.Place)
		case r.Event != e.Event || r.Key != e.Key:
			c.breakf(Phantom, c.storyOf(e.Event), "event %s with key %s took effect as the record at %v, which is event %s with key %s", e.Event, e.Key, e.Place, r.Event, r.Key)
		}
	}
}

func (c *checker) torn() {
	events := map[string]int{}
	maps.Copy(events, c.run.Tables.Counted)
	for event := range c.effects {
		events[event] += 0
	}
	for event, counted := range events {
		if effects := len(c.effects[event]); effects != counted {
			c.breakf(Torn, c.storyOf(event), "event %s has %d effects, and their transactions have counted %d", event, effects, counted)
		}
	}
}

func (c *checker) reordered() {
	last := map[order]Effect{}
	for _, e := range c.run.Tables.Effects {
		if e.Letter != "" && !c.run.Parked {
			continue
		}
		key := c.orderOf(e.Record)
		if before, there := last[key]; there && before.Offset > e.Offset {
			c.breakf(Reordered, append(c.storyOf(before.Event), c.storyOf(e.Event)...),
				"key %s: event %s at %v took effect after event %s at %v", e.Key, e.Event, e.Place, before.Event, before.Place)
		}
		last[key] = e
	}
}

func (c *checker) both() {
	for event, effects := range c.effects {
		byLetter := func(e Effect) bool { return e.Letter != "" }
		superseded := func(l Letter) bool { return l.State == "superseded" } // When it was replayed the event was processed.
		if c.waits(event) || slices.ContainsFunc(c.letters[event], superseded) && !slices.ContainsFunc(effects, byLetter) {
			c.breakf(Both, c.storyOf(event), "event %s has an effect and a dead letter", event)
		}
	}
}
