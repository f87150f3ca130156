package history

import (
	"maps"
	"slices"
	"time"
)

// The rules about where partitions stand.

func (c *checker) back() {
	last, used := map[Partition]Seen{}, map[Election]time.Time{}
	for _, s := range c.run.Seen {
		if s.Checkpoint < 0 || c.fleeting[s.Topic] {
			continue
		}
		before, there := last[s.Partition]
		if there && s.Checkpoint < before.Checkpoint && !c.mayGoBack(before, s, used) {
			c.breakf(Back, c.storyOfPartition(s.Partition, before.At, s.At),
				"the checkpoint of %v went back from %d to %d, and nobody lost or reset it", s.Partition, before.Checkpoint, s.Checkpoint)
		}
		last[s.Partition] = s
	}
}

// lostWithin tells whether the database may have lost what it committed in a time.
func (c *checker) lostWithin(from, to time.Time) bool {
	return slices.ContainsFunc(c.run.Losses, func(l Loss) bool { return !l.From.After(to) && !l.To.Before(from) })
}

// mayGoBack has an election excuse the owner that finds out, whenever that is, and another one if the database loses what that has stored.
func (c *checker) mayGoBack(from, to Seen, used map[Election]time.Time) bool {
	if c.lostWithin(from.Asked, to.At) || slices.ContainsFunc(c.run.Resets, func(r Reset) bool {
		return r.Partition == to.Partition && !r.From.After(to.At) && !r.To.Before(from.Asked)
	}) {
		return true
	}
	for _, e := range c.run.Elections {
		before, found := used[e]
		if e.Partition == to.Partition && !e.From.After(to.At) && e.End <= to.Checkpoint && (!found || c.lostWithin(before, to.At)) {
			used[e] = to.At

			return true
		}
	}

	return false
}

// stale is how long after a reset or a loss a worker may still tell of what it did before, because it has not noticed or was frozen.
const stale = 15 * time.Second

// groupOffset is an offset of the group when it was new.
type groupOffset struct {
	Seen

	former time.Time // when it was asked for last and still was another
}

// untold leaves partitions alone that an operator, or the owner after an unclean election, has set back: their offsets stay
// ahead until they are committed again.
func (c *checker) untold() {
	for _, loss := range c.run.Losses {
		before, asked := map[Partition]groupOffset{}, map[Partition]time.Time{} // the latest
		for _, s := range c.run.Seen {
			if s.At.After(loss.To) || s.Committed < 0 {
				continue
			}
			if group, known := before[s.Partition]; !known || s.Committed != group.Committed {
				before[s.Partition] = groupOffset{s, asked[s.Partition]}
			}
			asked[s.Partition] = s.Asked
		}
		for p, group := range before {
			if now, back := c.fallsBehind(group, loss); back && !c.fleeting[p.Topic] && !c.wasReset(group, now) && !c.told(group, now) {
				c.breakf(Untold, c.storyOfPartition(p, loss.From, loss.To.Add(time.Minute)),
					"%s: the checkpoint of %v then stood at %d, where the group had committed %d, and nobody said so", loss.How, p, now.Checkpoint, group.Committed)
			}
		}
	}
}

// fallsBehind returns the first checkpoint that stands before an offset of the group: until the first one behind a loss.
func (c *checker) fallsBehind(group groupOffset, loss Loss) (Seen, bool) {
	for _, s := range c.run.Seen {
		switch {
		case s.Partition != group.Partition || s.Checkpoint < 0 || s.Asked.Before(group.At):
		case s.Checkpoint < group.Committed:
			return s, true
		case s.Asked.After(loss.To):
			return Seen{}, false
		}
	}

	return Seen{}, false
}

// wasReset tells whether somebody has set the checkpoint back, so that nobody can tell of a loss: before it was seen, or before any worker
// came to the partition again.
func (c *checker) wasReset(group groupOffset, now Seen) bool {
	return slices.ContainsFunc(c.run.Resets, func(r Reset) bool {
		if r.Partition != now.Partition {
			return false
		}
		came := slices.ContainsFunc(c.run.Entries, func(e Entry) bool {
			return e.Partition == r.Partition && e.At.After(now.At) && e.At.Before(r.From)
		})

		return !r.From.After(now.At) && r.To.Add(stale).After(group.former) || r.From.After(now.At) && !came
	}) || slices.ContainsFunc(c.run.Elections, func(e Election) bool { return e.Partition == now.Partition })
}

// told tells whether somebody said that the checkpoint was behind: after the group's offset had come (else it was for an earlier loss), and
// before the checkpoint was there again.
func (c *checker) told(group groupOffset, now Seen) bool {
	again := slices.IndexFunc(c.run.Seen, func(s Seen) bool {
		return s.Partition == now.Partition && s.Asked.After(now.At) && s.Checkpoint >= group.Committed
	})

	return slices.ContainsFunc(c.run.Entries, func(e Entry) bool {
		return e.Kind == Rewound && e.Partition == now.Partition && !e.At.Before(group.former) && (again < 0 || !e.At.After(c.run.Seen[again].At))
	})
}

// alarmed takes a loss for the reason of what is told of it until the group has an offset of an owner who has acquired the partition after it.
func (c *checker) alarmed() {
	type owner struct {
		Partition

		worker string
	}
	acquired, sound := map[owner]time.Time{}, map[Partition]time.Time{} // when the owner had whose offset the group has
	for _, e := range c.run.Entries {
		switch e.Kind {
		case Acquired:
			acquired[owner{e.Partition, e.Worker}] = e.At
		case OffsetTold:
			if at := acquired[owner{e.Partition, e.Worker}]; at.After(sound[e.Partition]) {
				sound[e.Partition] = at
			}
		case Rewound:
			lost := slices.ContainsFunc(c.run.Losses, func(l Loss) bool { return !l.From.After(e.At) && !sound[e.Partition].After(l.To.Add(stale)) })
			if !lost {
				c.breakf(Alarmed, c.storyOfPartition(e.Partition, e.At.Add(-time.Minute), e.At),
					"%s said that the database had lost commits of %v, which it had not: %s", e.Worker, e.Partition, e.Note)
			}
		default:
		}
	}
}

// early follows each partition through the entries: which of its records are done with.
func (c *checker) early() {
	logs := map[Partition][]Record{}
	for _, r := range c.run.Log {
		logs[r.Partition] = append(logs[r.Partition], r)
	}
	partitions := map[Partition]*progress{}
	for _, e := range c.run.Entries {
		p := partitions[e.Partition]
		if p == nil {
			p = &progress{log: logs[e.Partition], done: map[int64]bool{}}
			partitions[e.Partition] = p
		}
		switch e.Kind {
		case Acquired, Skipped:
			p.begin(e.Offsets[0])
		case Committed:
			for _, offset := range e.Offsets {
				p.done[offset] = true
			}
		case OffsetTold:
			if r := p.firstUndone(); !c.fleeting[e.Topic] && r != nil && r.Offset < e.Offsets[0] {
				c.breakf(Early, append(c.storyOf(r.Event), c.storyOfPartition(e.Partition, e.At.Add(-time.Second), e.At)...),
					"%s committed offset %d of %v, and event %s at %d before it was not done with", e.Worker, e.Offsets[0], e.Partition, r.Event, r.Offset)
			}
		default:
		}
	}
}

// progress is how far the records of a partition are done with.
type progress struct {
	log  []Record
	next int            // of log: those before are done with
	done map[int64]bool // offsets
}

// begin notes that an owner goes on from an offset: all before it is done with, and no more than that.
func (p *progress) begin(offset int64) {
	p.next, _ = slices.BinarySearchFunc(p.log, offset, func(r Record, at int64) int { return int(r.Offset - at) })
	maps.DeleteFunc(p.done, func(done int64, _ bool) bool { return done >= offset })
}

func (p *progress) firstUndone() *Record {
	for p.next < len(p.log) && p.done[p.log[p.next].Offset] {
		p.next++
	}
	if p.next == len(p.log) {
		return nil
	}

	return &p.log[p.next]
}
