package simulation

import (
	"fmt"
	"slices"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
)

// form is how a consumer is given its records.
type form int

const (
	shared form = iota
	own
	batches
	queues
	lanes
	forms
)

func (f form) String() string { return [...]string{"shared", "own", "batches", "queues", "lanes"}[f] }

// plan is what a seed makes of a schedule before it begins.
type plan struct {
	seed                         seed
	members, partitions, records int
	mode                         consume.Mode
	form                         form
	parks                        bool // FailureConfig.ParkKeys
	breaker                      int  // BreakerPolicy.Failures
	duplicates                   bool // events that are produced twice
	poison                       bool // records that fail until an operator has them replayed
	tears                        bool // batches that cannot be read; not with unclean elections, because nobody knows their leader epochs
	faults                       int  // one of so many exchanges with PostgreSQL or Kafka fails; 0: none
	storm                        time.Duration
	troubles                     []trouble
}

// trouble is something that happens at a time of the storm.
type trouble struct {
	at   time.Duration
	what string
	draw draw
}

// kinds of trouble, for all. Consumers without checkpoints cannot notice what a database or a log has lost.
var kinds = []string{"move", "zombie", "crash", "leave", "terminate", "restart", "kafka", "coordinator", "downstream", "produce", "transaction", "pause", "replay", "election"}

func newPlan(s seed) plan {
	d := s.of("plan")
	p := plan{
		seed: s, members: 1 + d.below(3), partitions: 1 + d.below(3), records: 1 + d.below(12),
		mode: consume.Mode(d.below(3)), form: form(d.below(int(forms))), breaker: []int{2, 10, -1}[d.below(3)], //nolint:gosec // There are three.
		poison: d.once(2), storm: d.between(time.Second, 15*time.Second),
	}
	p.duplicates = p.mode != consume.ByCheckpoint && d.once(2)
	if p.mode == consume.ByEventID && (p.form == batches || p.form == queues) {
		p.form = own
	}
	if p.mode == consume.ByCheckpoint && p.form == lanes {
		p.form = shared
	}
	p.parks = p.mode != consume.ByEventID && p.form != lanes && d.once(3)
	p.faults = []int{0, 8, 40, 200}[d.below(4)]
	possible := slices.Clone(kinds)
	if p.tears = d.once(3); p.mode != consume.ByEventID {
		possible = append(possible, "failover", "failover")
		if d.below(2) == 0 {
			possible, p.tears = append(possible, "unclean", "unclean"), false
		}
	}
	for range d.below(10) {
		p.troubles = append(p.troubles, trouble{d.between(0, p.storm), possible[d.below(len(possible))], draw(d.below(1 << 62))}) //nolint:gosec // It is not negative.
	}
	slices.SortFunc(p.troubles, func(a, b trouble) int { return int(a.at - b.at) })

	return p
}

func (p *plan) String() string {
	return fmt.Sprintf("%d members, %d partitions of %d records, mode %d, %v, parks %v, breaker %d, duplicates %v, poison %v, one fault in %d",
		p.members, p.partitions, p.records, p.mode, p.form, p.parks, p.breaker, p.duplicates, p.poison, p.faults)
}

// fate is what the handler makes of a record.
type fate struct {
	pause    time.Duration // before its effect
	failures int           // attempts that fail before one succeeds; many: until it is cured
	how      string
}

// fate of the record at an offset.
func (p *plan) fate(partition int32, offset int64) fate {
	d := p.seed.of("fate", int64(partition), offset)
	f := fate{pause: d.between(0, time.Millisecond)}
	if d.once(10) {
		f.pause = d.between(0, 3*time.Second)
	}
	if d.once(4) {
		f.failures = 1 + d.below(2)
		f.how = []string{"error", "panic", "transient", "swallowed", "after the effect"}[d.below(5)]
		if p.poison && d.once(2) {
			f.failures = forever
			f.how = []string{"error", "panic", "permanent"}[d.below(3)]
		}
	}

	return f
}

const forever = 1 << 30
