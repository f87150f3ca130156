// Package simulation runs consumers against a simulated world, in simulated time: thousands of short lives, each
// made of a seed.
//
// What runs as it is: internal/engine, package idem with its guards and owners, and pgx with its pools. What is
// simulated: PostgreSQL (internal/modelpg, which a test holds to the real one), Kafka and the group (source.go,
// nemesis.go), the handlers, and the clock (testing/synctest). So a process can be killed in the middle of
// a COMMIT, a database can lose its latest commits, and a minute of retries takes no time.
//
// Not simulated: the adapters (fetching, decoding, membership, how offsets are committed together), real networks,
// memory, and what only PostgreSQL knows (isolation levels, plans, bloat). Those have tests with real servers.
//
// A seed decides what is made of a schedule, and when things happen. Where several happen at the same time, and which
// key goes to which lane, chance decides: run a seed that has failed some times more.
//
// A schedule has a storm, with faults in a part of all exchanges and troubles (plan.go), and a calm, in which all
// records must come to an end. What must hold is in invariants.go.
package simulation

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/engine"
	"github.com/nova-events/idempotent-consumer/internal/modelpg"
)

func init() { //nolint:gochecknoinits // Before anything pauses.
	backoff.Random = func(n int64) int64 { return n * 5 / 8 }
}

// patience is how long a calm may last, in simulated time.
const patience = 10 * time.Minute

// world is everything outside of the processes.
type world struct {
	plan    plan
	pg      *modelpg.Server
	pool    *pgxpool.Config
	began   time.Time
	running sync.WaitGroup
	stormy  atomic.Bool
	cured   atomic.Bool // the handlers, of all that made records fail
	trace   *trace      // nil: none is wanted

	mu         sync.Mutex
	partitions []*partition
	members    []*process
	away       map[string]time.Time // until when something is
	counts     map[string]int64
	open       map[int64]string // hooks that have begun
	hooked     int64
	wrong      []string
	done       bool
	floor      int // how many commits are never lost
}

// Run runs the schedule of a seed, in a bubble of testing/synctest. It returns what was wrong, or "". With traced it
// also returns what happened.
func Run(s uint64, traced bool) (wrong, happened string) {
	w := &world{
		plan: newPlan(seed(s)), pg: modelpg.NewServer(), began: time.Now(), away: make(map[string]time.Time),
		counts: make(map[string]int64), open: make(map[int64]string),
	}
	if traced {
		w.trace = &trace{began: w.began}
	}
	config, err := pgxpool.ParseConfig("host=model user=simulated dbname=simulated sslmode=disable default_query_exec_mode=exec pool_max_conns=8")
	if err != nil {
		return err.Error(), ""
	}
	config.ConnConfig.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"model"}, nil }
	w.pool = config
	w.pg.Faults = w.exchange
	w.logf("%v", &w.plan)
	w.stormy.Store(true)
	for number := range w.plan.partitions {
		p := &partition{number: int32(number), held: engine.None, epochs: []epoch{{}}}
		p.committed.Offset = engine.None
		w.partitions = append(w.partitions, p)
		w.produce(p, w.plan.records)
	}
	for member := range w.plan.members {
		w.members = append(w.members, w.start(member))
	}
	w.running.Go(w.coordinate)
	w.rage()
	w.calm()
	w.shutDown()
	w.running.Wait()
	w.pg.Wait()
	w.checkHooks()
	if w.trace != nil {
		happened = w.trace.String()
	}

	return strings.Join(w.wrong, "\n"), happened
}

// coordinate gives partitions that belong to nobody to processes that can work.
func (w *world) coordinate() {
	for tick := int64(0); ; tick++ {
		d := w.plan.seed.of("coordinate", tick)
		time.Sleep(d.between(100*time.Millisecond, 200*time.Millisecond))
		w.mu.Lock()
		if w.done {
			w.mu.Unlock()

			return
		}
		var ready []*process
		for _, p := range w.members {
			if p != nil && p.isReady() {
				ready = append(ready, p)
			}
		}
		for _, part := range w.partitions {
			if part.run == nil && len(ready) > 0 {
				w.own(ready[d.below(len(ready))], part)
			}
		}
		w.mu.Unlock()
	}
}

// calm waits until all is done with, in a world without faults.
func (w *world) calm() {
	w.stormy.Store(false)
	w.logf("calm")
	for _, p := range w.partitions { // An owner notices that a log was truncated and filled again by what comes behind.
		for longest := p.longest; p.end <= longest; {
			w.produce(p, 1)
		}
	}
	w.await("all records to be done with", w.isDone)
	w.checkRecords()
	w.cured.Store(true)
	w.await("all dead letters to be replayed", func() string {
		w.pg.Replay()
		for _, l := range w.pg.DeadLetters() {
			raw := strings.Contains(l.Error, "read") // A batch, which stays what it is.
			if l.State != "replayed" && l.State != "superseded" && !raw {
				return fmt.Sprintf("%+v", l)
			}
		}

		return ""
	})
	w.mu.Lock()
	w.plan.duplicates = false
	w.mu.Unlock()
	for _, p := range w.partitions {
		w.produce(p, 1) // Else a breaker is open until the next record takes effect.
	}
	w.await("the last records to be done with", w.isDone)
	w.await("all partitions to come to rest", w.restless)
	w.checkEffects()
}

// await waits until nothing is left to wait for.
func (w *world) await(what string, left func() string) {
	for deadline := time.Now().Add(patience); ; {
		why := left()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			w.failf("waited in vain for %s: %s", what, why)

			return
		}
		time.Sleep(217 * time.Millisecond)
	}
}

// shutDown stops all processes in order.
func (w *world) shutDown() {
	w.logf("shut down")
	w.mu.Lock()
	w.done = true
	members := slices.Clone(w.members)
	w.mu.Unlock()
	for _, p := range members {
		if p != nil {
			p.stop()
		}
	}
	w.await("all owners to end", func() string {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, part := range w.partitions {
			if part.run != nil {
				return fmt.Sprintf("partition %d", part.number)
			}
		}

		return ""
	})
	for _, p := range members {
		if p != nil {
			p.pool.Close()
		}
	}
}

// exchange is what becomes of one with PostgreSQL.
func (w *world) exchange(e modelpg.Exchange) modelpg.Fault {
	last := e.Names[len(e.Names)-1]
	if last == "--" { // A ping: which connection a pool takes, and asks, is a matter of chance.
		return modelpg.Fault{}
	}
	unlike := func(arg string) bool { return len(arg) > 8 || strings.HasPrefix(arg, "{") } // What differs each time.
	key := e.Client + last + strings.Join(slices.DeleteFunc(e.Args, unlike), " ")
	d := w.plan.seed.of(key, w.count(key))
	f := modelpg.Fault{Before: d.between(20*time.Microsecond, time.Millisecond), After: d.between(20*time.Microsecond, time.Millisecond)}
	if w.faulty(&d) {
		f.Before = d.between(0, 2*time.Second)
	}
	if w.faulty(&d) {
		switch d.below(4) {
		case 0:
			f.Cut = modelpg.CutBefore
		case 1:
			f.Cut = modelpg.CutAfter
		case 2:
			f.Cut, f.After = modelpg.CutMeanwhile, d.between(0, 3*time.Second)
		case 3:
			f.Refuse = []string{"40001", "40P01", "53300", "57014", "25006", "08006"}[d.below(6)]
			if last == modelpg.EffectStatement || last == "commit" { // Not all errors can come there, or would be the handler's.
				f.Refuse = "40001"
			}
		}
		w.logf("%s %s: %+v", e.Client, last, f)
	}

	return f
}

// faulty reports whether something goes wrong.
func (w *world) faulty(d *draw) bool {
	hits := w.plan.faults > 0 && d.once(max(w.plan.faults, 1))

	return hits && w.stormy.Load()
}

// count counts from 0.
func (w *world) count(what string, numbers ...int64) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := fmt.Sprint(what, numbers)
	n := w.counts[key]
	w.counts[key]++

	return n
}

// fail notes what is wrong.
func (w *world) failf(format string, a ...any) {
	w.logf("WRONG: "+format, a...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, fmt.Sprintf(format, a...))
}

func (w *world) must(err error) {
	if err != nil {
		panic(err)
	}
}

func (w *world) logf(format string, a ...any) {
	if w.trace != nil {
		_, _ = fmt.Fprintf(w.trace, format+"\n", a...)
	}
}

// trace is what has happened.
type trace struct {
	began time.Time
	mu    sync.Mutex
	text  bytes.Buffer
}

// Write implements io.Writer.
func (t *trace) Write(line []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = fmt.Fprintf(&t.text, "%12v ", time.Since(t.began))

	return t.text.Write(line)
}

func (t *trace) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()

	return t.text.String()
}
