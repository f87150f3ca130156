package history

import (
	"fmt"
	"maps"
	"math"
	"slices"
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

// usurped looks at the reigns of which there is an effect at the end. What the database has lost was never owned.
func (c *checker) usurped() {
	if c.run.Unfenced {
		return
	}
	effective := map[Partition]map[string]map[int64]bool{} // by reign: the offsets
	for _, e := range c.run.Tables.Effects {
		reigns := effective[e.Partition]
		if reigns == nil {
			reigns = map[string]map[int64]bool{}
			effective[e.Partition] = reigns
		}
		if reigns[e.Reign] == nil {
			reigns[e.Reign] = map[int64]bool{}
		}
		reigns[e.Reign][e.Offset] = true
	}
	for p, reigns := range effective {
		story := func() []string {
			return c.storyOfReigns(p, c.run.Entries[0].At, c.run.Entries[len(c.run.Entries)-1].At)
		}
		switch porcupine.CheckOperationsTimeout(register, c.ownership(p, reigns), ownershipTimeout) {
		case porcupine.Illegal:
			c.breakf(Usurped, story(), "%v: there is no order of its owners and their transactions in which each transaction is of the latest owner", p)
		case porcupine.Unknown:
			c.breakf(Undecided, story(), "%v: no order of its owners and their transactions was found in %v, and none excluded", p, ownershipTimeout)
		case porcupine.Ok:
		}
	}
}

// ownership makes the operations of a partition: an acquisition began when the worker was without the partition for
// the last time, a transaction ended when the worker said so, or else at any time. Of the transactions of a reign two
// say all: the one that ends first, before which the reign has begun, and the one that begins last, behind which the next
// reign begins. An order of these is one of all.
func (c *checker) ownership(p Partition, effective map[string]map[int64]bool) []porcupine.Operation {
	type try struct {
		worker string
		number int64
	}
	var acquisitions []porcupine.Operation
	without := map[string]int64{} // by worker
	tries := map[try]porcupine.Operation{}
	for _, e := range c.run.Entries {
		at, of := e.At.UnixNano(), try{e.Worker, e.Try}
		switch {
		case e.Kind == Started, e.Kind == GaveUp && e.Partition == p:
			without[e.Worker] = at
		case e.Partition != p || effective[e.Reign] == nil:
		case e.Kind == Acquired:
			acquisitions = append(acquisitions, porcupine.Operation{Input: act{e.Reign, true}, Call: without[e.Worker], Return: at})
		case e.Kind == Began && hasAny(effective[e.Reign], e.Offsets):
			tries[of] = porcupine.Operation{Input: act{e.Reign, false}, Call: at, Return: math.MaxInt64}
		case e.Kind == RolledBack:
			delete(tries, of)
		case e.Kind == Committed:
			if o, there := tries[of]; there {
				o.Return = at
				tries[of] = o
			}
		}
	}

	endsFirst, beginsLast := map[any]porcupine.Operation{}, map[any]porcupine.Operation{} // by reign
	for _, o := range tries {
		if first, there := endsFirst[o.Input]; !there || o.Return < first.Return {
			endsFirst[o.Input] = o
		}
		if last, there := beginsLast[o.Input]; !there || o.Call > last.Call {
			beginsLast[o.Input] = o
		}
	}

	return slices.AppendSeq(slices.AppendSeq(acquisitions, maps.Values(endsFirst)), maps.Values(beginsLast))
}

func hasAny(set map[int64]bool, offsets []int64) bool {
	for _, offset := range offsets {
		if set[offset] {
			return true
		}
	}

	return false
}
