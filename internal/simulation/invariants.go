package simulation

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/engine"
	"github.com/nova-events/idempotent-consumer/internal/modelpg"
)

// checkPlace checks a place that is to be committed to Kafka: all records before it must be done with, in
// transactions that are committed.
func (w *world) checkPlace(p *partition, place engine.Place) {
	if place.Offset < 0 {
		w.failf("offset %d of partition %d is to be committed to Kafka", place.Offset, p.number)
	}
	if w.plan.mode != consume.ByEventID {
		if _, ever := w.pg.Checkpoint(topic, p.number); place.Offset > ever {
			w.failf("offset %d of partition %d is to be committed to Kafka, but the checkpoint was never beyond %d", place.Offset, p.number, ever)
		}

		return
	}
	w.mu.Lock()
	records := p.records
	w.mu.Unlock()
	for _, r := range records {
		if r.Offset < place.Offset && r.last == engine.None && !w.pg.Claimed(idem.Key(idOf(r.Record)).String()) {
			w.failf("offset %d of partition %d is to be committed to Kafka, but the record at %d is not processed", place.Offset, p.number, r.Offset)
		}
	}
}

// isDone says what is not done with; "" is nothing.
func (w *world) isDone() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.partitions {
		if p.committed.Offset != p.end {
			return fmt.Sprintf("the group is at offset %d of %d in partition %d", p.committed.Offset, p.end, p.number)
		}
		if next, _ := w.pg.Checkpoint(topic, p.number); w.plan.mode != consume.ByEventID && next != p.end {
			return fmt.Sprintf("the checkpoint is at %d of %d in partition %d", next, p.end, p.number)
		}
	}

	return ""
}

// checkRecords checks that each record has taken effect, or is a dead letter because its handler has failed.
func (w *world) checkRecords() {
	letters := make(map[string]modelpg.DeadLetter)
	for _, l := range w.pg.DeadLetters() {
		letters[fmt.Sprint(l.Partition, l.Offset)] = l
	}
	effects := w.effects()
	for _, p := range w.partitions {
		for _, r := range p.records {
			id := idOf(r.Record)
			letter, stored := letters[fmt.Sprint(p.number, r.Offset)]
			if r.last != engine.None {
				if _, stored := letters[fmt.Sprint(p.number, r.batch)]; !stored || len(effects[id]) > 0 && !w.plan.duplicates {
					w.failf("the batch at %d-%d, which cannot be read, is stored: %v, and took effect %d times", p.number, r.batch, stored, len(effects[id]))
				}

				continue
			}
			switch {
			case len(effects[id]) == 0 && !stored && !w.hasLetter(letters, id):
				w.failf("the record %d-%d was skipped", p.number, r.Offset)
			case stored && letter.State == "open" && !w.mayFail(p.number, r.Offset):
				w.failf("the record %d-%d is a dead letter: %s", p.number, r.Offset, letter.Error)
			case stored && letter.State == "parked" && !w.plan.parks:
				w.failf("the record %d-%d is parked", p.number, r.Offset)
			}
		}
	}
}

// hasLetter reports whether another record of the event is a dead letter.
func (w *world) hasLetter(letters map[string]modelpg.DeadLetter, id string) bool {
	for _, p := range w.partitions {
		for _, r := range p.records {
			if _, stored := letters[fmt.Sprint(p.number, r.Offset)]; stored && idOf(r.Record) == id {
				return true
			}
		}
	}

	return false
}

// mayFail reports whether a record may have used up its attempts.
func (w *world) mayFail(partition int32, offset int64) bool {
	if w.plan.fate(partition, offset).failures > 0 {
		return true
	}
	_, outage := w.away["downstream"]

	return outage
}

func (w *world) effects() map[string][]int {
	effects := make(map[string][]int)
	for i, e := range w.pg.Effects() {
		effects[e.EventID] = append(effects[e.EventID], i)
	}

	return effects
}

// checkEffects checks that each event has taken effect once, in order.
func (w *world) checkEffects() {
	effects := w.effects()
	for _, p := range w.partitions {
		for _, r := range p.records {
			if n := len(effects[idOf(r.Record)]); n != 1 && r.last == engine.None {
				w.failf("the event %s of the record %d-%d took effect %d times", idOf(r.Record), p.number, r.Offset, n)
			}
		}
	}
	if w.plan.mode == consume.ByEventID {
		return // Zombies process records, too.
	}
	last := make(map[string]int64)
	keys := make(map[string]string)
	for _, p := range w.partitions {
		for _, r := range p.records {
			keys[fmt.Sprint(p.number, r.Offset, idOf(r.Record))] = string(r.Key)
		}
	}
	for _, e := range w.pg.Effects() {
		key, inLog := keys[fmt.Sprint(e.Partition, e.Offset, e.EventID)]
		if !inLog {
			continue // An unclean election has lost it.
		}
		order := strconv.Itoa(int(e.Partition))
		switch {
		case w.plan.parks && key != "":
			order += key // Replays too.
		case e.Replay, w.plan.form == lanes && key == "":
			continue
		case w.plan.form == lanes:
			order += key
		}
		if before, ok := last[order]; ok && before > e.Offset {
			w.failf("%d-%d took effect after %d", e.Partition, e.Offset, before)
		}
		last[order] = e.Offset
	}
}

// restless says what has not come to rest; "" is nothing.
func (w *world) restless() string {
	w.mu.Lock()
	members := slices.Clone(w.members)
	w.mu.Unlock()
	n := 0
	for _, p := range members {
		if p == nil {
			return "a process has not started"
		}
		for _, h := range p.engine.Health().Partitions {
			n++
			if h.State != consume.Idle || h.Lag != 0 {
				return fmt.Sprintf("%s: %+v", p.name, h)
			}
		}
	}
	if n != len(w.partitions) {
		return fmt.Sprintf("%d partitions are owned", n)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range w.open {
		if name == "Pause" {
			return "a pause has not ended"
		}
	}

	return ""
}

// hookKey is the key of a hook's number in the context that its Begin returns.
type hookKey struct{}

// watched is a hook that must end once.
func watched[B, E any](w *world, name string) idem.Hook[B, E] {
	return idem.Hook[B, E]{
		Begin: func(ctx context.Context, _ B) context.Context {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.hooked++
			w.open[w.hooked] = name

			return context.WithValue(ctx, hookKey{}, w.hooked)
		},
		End: func(ctx context.Context, _ B, _ E) {
			number, _ := ctx.Value(hookKey{}).(int64)
			w.mu.Lock()
			known := w.open[number]
			delete(w.open, number)
			w.mu.Unlock()
			if known != name {
				w.failf("the hook %s ends, which has not begun, or has ended before (%q)", name, known)
			}
		},
	}
}

func (w *world) hooks() consume.Hooks {
	return consume.Hooks{
		Assignment: watched[consume.AssignmentBegin, consume.AssignmentEnd](w, "Assignment"), Fetch: watched[consume.FetchBegin, consume.FetchEnd](w, "Fetch"),
		Process: watched[consume.ProcessBegin, consume.ProcessEnd](w, "Process"), Handler: watched[consume.HandlerBegin, consume.HandlerEnd](w, "Handler"),
		Pause: watched[consume.PauseBegin, consume.PauseEnd](w, "Pause"),
	}
}

func (w *world) guardHooks() idem.Hooks {
	return idem.Hooks{
		Process: watched[idem.Op, idem.ProcessEnd](w, "guard's Process"), Batch: watched[idem.Op, idem.BatchEnd](w, "guard's Batch"),
		Claim: watched[idem.Op, idem.ClaimEnd](w, "guard's Claim"), Handler: watched[idem.Op, idem.HandlerEnd](w, "guard's Handler"),
		Commit: watched[idem.Op, idem.CommitEnd](w, "guard's Commit"),
	}
}

// checkHooks checks that all have ended.
func (w *world) checkHooks() {
	for _, name := range w.open {
		w.failf("the hook %s has not ended", name)
	}
}
