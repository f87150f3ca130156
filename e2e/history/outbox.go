package history

import "time"

// The rules about what came through the outbox.

func (c *checker) unpublished() {
	came := map[string]bool{} // by run
	for _, p := range c.run.Published {
		came[p.With.Run] = true
	}
	for _, e := range c.run.Tables.Effects {
		if e.Run != "" && !came[e.Run] {
			c.breakf(Lost, c.storyOf(e.Event), "event %s took effect in run %s, and what that published has not come", e.Event, e.Run)
		}
	}
}

func (c *checker) unfounded() {
	effective := map[string]bool{} // by run
	for _, e := range c.run.Tables.Effects {
		effective[e.Run] = true
	}
	spans := c.spans()
	for _, p := range c.run.Published {
		if effective[p.With.Run] {
			continue
		}
		s, known := spans[p.With.Run]
		if !known || !c.lostWithin(s.from, s.to) {
			c.breakf(Phantom, c.storyOf(p.With.Event), "run %s of event %s has no effect, and what it published came to %v", p.With.Run, p.With.Event, p.Place)
		}
	}
}

// span is a time.
type span struct{ from, to time.Time }

// spans are when the runs of handlers may have been committed: until their try was at its end, or at any time since.
func (c *checker) spans() map[string]span {
	type part struct {
		worker string
		try    int64
		offset int64
	}
	ends := map[part]time.Time{}
	for _, e := range c.run.Entries {
		if e.Kind == Committed || e.Kind == RolledBack {
			for _, offset := range e.Offsets {
				ends[part{e.Worker, e.Try, offset}] = e.At
			}
		}
	}
	spans := map[string]span{}
	for _, e := range c.run.Entries {
		if e.Kind != Handled || e.Run == "" {
			continue
		}
		to, ended := ends[part{e.Worker, e.Try, e.Offsets[0]}]
		if !ended {
			to = c.run.Entries[len(c.run.Entries)-1].At
		}
		spans[e.Run] = span{e.At, to}
	}

	return spans
}

func (c *checker) overtaken() {
	last, came := map[order]Effect{}, map[string]bool{}
	for _, p := range c.run.Published {
		e := p.With
		if came[e.Event] {
			continue
		}
		came[e.Event] = true
		if e.Letter != "" && !c.run.Parked {
			continue
		}
		key := c.orderOf(e.Record)
		if before, there := last[key]; there && before.Offset > e.Offset {
			c.breakf(Reordered, append(c.storyOf(before.Event), c.storyOf(e.Event)...),
				"key %s: what event %s at %v published came after that of event %s at %v", e.Key, e.Event, e.Place, before.Event, before.Place)
		}
		last[key] = e
	}
}

func (c *checker) renamed() {
	names := map[string]string{}
	for _, p := range c.run.Published {
		if before, there := names[p.With.Event]; there && before != p.Event {
			c.breakf(Renamed, c.storyOf(p.With.Event), "what event %s published came as %s and as %s", p.With.Event, before, p.Event)
		}
		names[p.With.Event] = p.Event
	}
}
