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
	partitions := map[Partition]map[effectOf]bool{} // what has an effect at the end
	for _, e := range c.run.Entries {
		if e.Kind == Acquired && partitions[e.Partition] == nil {
			partitions[e.Partition] = map[effectOf]bool{}
		}
	}
	for _, e := range c.run.Tables.Effects {
		if effects := partitions[e.Partition]; effects != nil {
			effects[effectOf{e.Reign, e.Offset}] = true
		}
	}
	for p, effects := range partitions {
		story := func() []string {
			return c.storyOfReigns(p, c.run.Entries[0].At, c.run.Entries[len(c.run.Entries)-1].At)
		}
		switch porcupine.CheckOperationsTimeout(register, c.ownership(p, effects), ownershipTimeout) {
		case porcupine.Illegal:
			c.breakf(Usurped, story(), "%v: there is no order of its owners and their transactions in which each transaction is of the latest owner", p)
		case porcupine.Unknown:
			c.breakf(Undecided, story(), "%v: no order of its owners and their transactions was found in %v, and none excluded", p, ownershipTimeout)
		case porcupine.Ok:
		}
	}
}

type effectOf struct {
	reign  string
	offset int64
}

// ownership makes the operations of a partition: an acquisition began when the worker was without the partition for the last
// time. A COMMIT took effect if there is an effect that it was the first to send, or if the answer said so. Left out is what the
// database may have lost, and has no effect at the end.
//
// Of the COMMITs of a reign the last one says all. Who owns the partition when it is sent has owned it since it was acquired,
// because no reign comes again: so earlier ones need no look, nor need the time until the answer.
func (c *checker) ownership(p Partition, effects map[effectOf]bool) (all []porcupine.Operation) {
	type try struct {
		worker string
		number int64
	}
	without, offsets, sent := map[string]time.Time{}, map[try][]int64{}, map[try]time.Time{}
	mayBeLost, lastCommit := map[string]porcupine.Operation{}, map[string]time.Time{} // by reign
	for _, e := range c.run.Entries {
		of := try{e.Worker, e.Try}
		switch {
		case e.Kind == Started, e.Kind == GaveUp && e.Partition == p:
			without[e.Worker] = e.At
		case e.Partition != p:
		case e.Kind == Acquired:
			since := without[e.Worker]
			acquisition := operation(act{e.Reign, true}, since, e.At)
			if c.lostWithin(since, e.At) {
				mayBeLost[e.Reign] = acquisition
			} else {
				all = append(all, acquisition)
			}
		case e.Kind == Began:
			offsets[of] = e.Offsets
		case e.Kind == Committing:
			sent[of] = e.At
			for _, offset := range offsets[of] {
				if found := (effectOf{e.Reign, offset}); effects[found] {
					delete(effects, found) // Later ones may have failed.
					lastCommit[e.Reign] = e.At
				}
			}
		case e.Kind == Landed && !c.lostWithin(sent[of], e.At) && sent[of].After(lastCommit[e.Reign]):
			lastCommit[e.Reign] = sent[of]
		}
	}
	for reign, at := range lastCommit {
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
