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

// usurped looks for an order of the owners and the transactions of each partition.
func (c *checker) usurped() {
	if c.run.Unfenced {
		return
	}
	reigns := map[Partition]*reigns{}
	for _, e := range c.run.Entries {
		if e.Kind == Acquired && reigns[e.Partition] == nil {
			reigns[e.Partition] = newReigns(c)
		}
	}
	for _, e := range c.run.Tables.Effects {
		if of := reigns[e.Partition]; of != nil {
			of.effects[effectOf{e.Reign, e.Offset}], of.effective[e.Reign] = true, true
		}
	}
	for p, of := range reigns {
		story := func() []string {
			return c.storyOfReigns(p, c.run.Entries[0].At, c.run.Entries[len(c.run.Entries)-1].At)
		}
		switch porcupine.CheckOperationsTimeout(register, of.operations(p), ownershipTimeout) {
		case porcupine.Illegal:
			c.breakf(Usurped, story(), "%v: there is no order of its owners and their transactions in which each transaction is of the latest owner", p)
		case porcupine.Unknown:
			c.breakf(Undecided, story(), "%v: no order of its owners and their transactions was found in %v, and none excluded", p, ownershipTimeout)
		case porcupine.Ok:
		}
	}
}

// reigns are those of a partition. What the database may have lost is left out, unless there is an effect of it at the end.
type reigns struct {
	*checker

	effects   map[effectOf]bool
	effective map[string]bool // those with an effect

	acquisitions []porcupine.Operation

	// Of the transactions of a reign two say all: the one that ends first, before which the reign has begun, and the one that begins
	// last, behind which the next reign begins. An order of these is one of all.
	endsFirst, beginsLast map[string]porcupine.Operation
}

type effectOf struct {
	reign  string
	offset int64
}

func newReigns(c *checker) *reigns {
	return &reigns{
		checker: c, effects: map[effectOf]bool{}, effective: map[string]bool{},
		endsFirst: map[string]porcupine.Operation{}, beginsLast: map[string]porcupine.Operation{},
	}
}

// commit is the latest one of a try.
type commit struct {
	reign   string
	offsets []int64 // of the try
	sent    time.Time
	open    bool // it was not answered, and nobody has said that it failed
}

// operations makes those of a partition: an acquisition began when the worker was without the partition for the last
// time. A transaction took effect between its COMMIT and the answer, or else the end of its try, or at any time since.
func (r *reigns) operations(p Partition) []porcupine.Operation {
	type try struct {
		worker string
		number int64
	}
	without, commits := map[string]time.Time{}, map[try]commit{} // by worker
	for _, e := range r.run.Entries {
		of := try{e.Worker, e.Try}
		latest := commits[of]
		switch {
		case e.Kind == Started, e.Kind == GaveUp && e.Partition == p:
			without[e.Worker] = e.At
		case e.Partition != p:
		case e.Kind == Acquired:
			if since := without[e.Worker]; r.effective[e.Reign] || !r.lostWithin(since, e.At) {
				r.acquisitions = append(r.acquisitions, operation(e.Reign, true, since, e.At.UnixNano()))
			}
		case e.Kind == Began:
			latest = commit{reign: e.Reign, offsets: e.Offsets}
		case e.Kind == Committing:
			latest.sent, latest.open = e.At, true
		case e.Kind == Landed:
			if !r.lostWithin(latest.sent, e.At) || r.hasEffect(latest) {
				r.add(latest, e.At.UnixNano())
			}
			latest.open = false
		case e.Kind == RolledBack:
			latest.open = false
		case e.Kind == Committed:
			if latest.open && r.hasEffect(latest) {
				r.add(latest, e.At.UnixNano())
			}
			latest.open = false
		}
		if e.Try != 0 && e.Partition == p {
			commits[of] = latest
		}
	}
	for _, latest := range commits {
		if latest.open && r.hasEffect(latest) {
			r.add(latest, math.MaxInt64)
		}
	}

	return slices.AppendSeq(slices.AppendSeq(r.acquisitions, maps.Values(r.endsFirst)), maps.Values(r.beginsLast))
}

func (r *reigns) hasEffect(of commit) bool {
	return slices.ContainsFunc(of.offsets, func(offset int64) bool { return r.effects[effectOf{of.reign, offset}] })
}

// add adds a transaction that has taken effect.
func (r *reigns) add(of commit, until int64) {
	o := operation(of.reign, false, of.sent, until)
	if first, there := r.endsFirst[of.reign]; !there || o.Return < first.Return {
		r.endsFirst[of.reign] = o
	}
	if last, there := r.beginsLast[of.reign]; !there || o.Call > last.Call {
		r.beginsLast[of.reign] = o
	}
}

func operation(reign string, acquires bool, from time.Time, until int64) porcupine.Operation {
	return porcupine.Operation{Input: act{reign, acquires}, Call: from.UnixNano(), Return: until}
}
