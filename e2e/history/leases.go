package history

import (
	"slices"
	"time"
)

// The rules about leases and the provider.

// attempt is one of a lease, as its worker wrote it down. Times are zero where it did not come that far.
type attempt struct {
	worker                             string
	number                             int64
	sought, charging, charged, settled time.Time
}

// attempts are those of each event, in the order in which they began. A worker makes one attempt of an event at a time.
func (c *checker) attempts() map[string][]*attempt {
	type of struct{ worker, event string }
	sought, attempts := map[of]time.Time{}, map[string][]*attempt{}
	for _, e := range c.run.Entries {
		switch e.Kind {
		case Sought:
			sought[of{e.Worker, e.Event}] = e.At
		case Charging:
			attempts[e.Event] = append(attempts[e.Event], &attempt{worker: e.Worker, number: e.Try, sought: sought[of{e.Worker, e.Event}], charging: e.At})
		case Charged:
			latest(attempts[e.Event], e).charged = e.At
		case Settled:
			latest(attempts[e.Event], e).settled = e.At
		default:
		}
	}

	return attempts
}

// latest is the attempt that an entry is about.
func latest(attempts []*attempt, e Entry) *attempt {
	for _, a := range slices.Backward(attempts) {
		if a.worker == e.Worker && a.number == e.Try {
			return a
		}
	}

	return &attempt{} // It has not begun.
}

func (c *checker) uncounted() {
	attempts := c.attempts()
	for event, of := range attempts {
		for i, a := range of {
			for _, b := range of[:i] {
				if a.number == b.number && !c.lostWithin(b.sought, a.charging) {
					c.breakf(Uncounted, c.storyOf(event), "event %s: two attempts, of %s and %s, have the number %d", event, b.worker, a.worker, a.number)
				}
			}
		}
	}
	for _, charge := range c.run.Charges {
		if !slices.ContainsFunc(attempts[charge.Event], func(a *attempt) bool { return a.number == charge.Attempt }) {
			c.breakf(Uncounted, c.storyOf(charge.Event), "event %s: the provider was asked by attempt %d, which never began", charge.Event, charge.Attempt)
		}
	}
}

func (c *checker) overridden() {
	for event, of := range c.attempts() {
		for _, a := range of {
			later := slices.IndexFunc(of, func(b *attempt) bool {
				return b.number > a.number && b.charging.Before(a.charged) && !c.lostWithin(b.sought, a.settled) && !c.lostWithin(a.sought, a.settled)
			})
			if later >= 0 && !a.settled.IsZero() {
				c.breakf(Overridden, c.storyOf(event), "event %s: attempt %d of %s completed it, although attempt %d of %s had begun before",
					event, a.number, a.worker, of[later].number, of[later].worker)
			}
		}
	}
}

func (c *checker) resettled() {
	for event, of := range c.attempts() {
		var first *attempt
		for _, a := range of {
			switch {
			case a.settled.IsZero():
			case first == nil:
				first = a
			case !c.lostWithin(first.charged, a.settled):
				c.breakf(Resettled, c.storyOf(event), "event %s: attempts %d and %d, of %s and %s, completed it", event, first.number, a.number, first.worker, a.worker)
			default: // What it completed is lost.
				first = a
			}
		}
	}
}

func (c *checker) recharged() {
	keys, receipts := map[string]string{}, map[string]bool{}
	for _, charge := range c.run.Charges {
		if before, there := keys[charge.Event]; there && before != charge.Key {
			c.breakf(Recharged, c.storyOf(charge.Event), "event %s was charged with key %s and key %s", charge.Event, before, charge.Key)
		}
		keys[charge.Event] = charge.Key
		receipts[charge.Event+" "+charge.Receipt] = true
	}
	for _, e := range c.run.Tables.Effects {
		if e.Receipt != "" && !receipts[e.Event+" "+e.Receipt] {
			c.breakf(Phantom, c.storyOf(e.Event), "event %s took effect with receipt %s, which the provider gave nobody for it", e.Event, e.Receipt)
		}
	}
}
