package history

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"
)

// ownershipTimeout bounds the search for an order of one partition.
const ownershipTimeout = time.Minute

// act is an operation on the register that says who owns a partition.
type act struct {
	reign    string
	acquires bool // writes; else it reads, and must find its own reign
}

// register is one partition.
var register = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, _ any) (bool, any) {
		a := input.(act) //nolint:forcetypeassert // There are no others.
		if a.acquires {
			return true, a.reign
		}

		return state == a.reign, state
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
}

// usurped looks for an order of the owners and the transactions of each partition.
func (c *checker) usurped() {
	if c.run.Unfenced {
		return
	}
	partitions := map[Partition]*reigns{}
	for _, e := range c.run.Entries {
		if e.Kind == Acquired && partitions[e.Partition] == nil {
			partitions[e.Partition] = &reigns{checker: c, effects: map[effectOf]bool{}, lastCommit: map[string]time.Time{}}
		}
	}
	for _, e := range c.run.Tables.Effects {
		if r := partitions[e.Partition]; r != nil {
			r.effects[effectOf{e.Reign, e.Offset}] = true
		}
	}
	for p, r := range partitions {
		story := func() []string {
			return c.storyOfReigns(p, c.run.Entries[0].At, c.run.Entries[len(c.run.Entries)-1].At)
		}
		switch porcupine.CheckOperationsTimeout(register, r.operations(p), ownershipTimeout) {
		case porcupine.Illegal:
			c.breakf(Usurped, story(), "%v: there is no order of its owners and their transactions in which each transaction is of the latest owner", p)
		case porcupine.Unknown:
			c.breakf(Undecided, story(), "%v: no order of its owners and their transactions was found in %v, and none excluded", p, ownershipTimeout)
		case porcupine.Ok:
		}
	}
}

// reigns are those of a partition.
type reigns struct {
	*checker

	effects map[effectOf]bool // at the end, whose COMMIT was not found yet

	// lastCommit is when a reign sent its last COMMIT that took effect. Who owns the partition then has owned it since it was acquired,
	// because no reign comes again: so earlier COMMITs need no look, nor need the time until the answer.
	lastCommit map[string]time.Time
}

type effectOf struct {
	reign  string
	offset int64
}

// operations makes those of a partition: an acquisition began when the worker was without the partition for the last
// time. A COMMIT took effect if there is an effect that it was the first to send, or if the answer said so. Left out is what the
// database may have lost, and has no effect at the end.
func (r *reigns) operations(p Partition) (all []porcupine.Operation) {
	type try struct {
		worker string
		number int64
	}
	without, offsets, sent := map[string]time.Time{}, map[try][]int64{}, map[try]time.Time{}
	mayBeLost := map[string]porcupine.Operation{}
	for _, e := range r.run.Entries {
		of := try{e.Worker, e.Try}
		switch {
		case e.Kind == Started, e.Kind == GaveUp && e.Partition == p:
			without[e.Worker] = e.At
		case e.Partition != p:
		case e.Kind == Acquired:
			since := without[e.Worker]
			acquisition := operation(act{e.Reign, true}, since, e.At)
			if r.lostWithin(since, e.At) {
				mayBeLost[e.Reign] = acquisition
			} else {
				all = append(all, acquisition)
			}
		case e.Kind == Began:
			offsets[of] = e.Offsets
		case e.Kind == Committing:
			sent[of] = e.At
			for _, offset := range offsets[of] {
				if found := (effectOf{e.Reign, offset}); r.effects[found] {
					delete(r.effects, found)
					r.lastCommit[e.Reign] = e.At
				}
			}
		case e.Kind == Landed && !r.lostWithin(sent[of], e.At) && sent[of].After(r.lastCommit[e.Reign]):
			r.lastCommit[e.Reign] = sent[of]
		}
	}
	for reign, at := range r.lastCommit {
		all = append(all, operation(act{reign, false}, at, at))
		if acquisition, there := mayBeLost[reign]; there {
			all = append(all, acquisition)
		}
	}

	return all
}

func operation(what act, from, to time.Time) porcupine.Operation {
	return porcupine.Operation{Input: what, Call: from.UnixNano(), Return: to.UnixNano()}
}
