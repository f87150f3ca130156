package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/history"
	"github.com/nova-events/idempotent-consumer/ops"
)

// runner is one run.
type runner struct {
	plan   plan
	folder string
	stderr io.Writer
	began  time.Time

	partitions atomic.Int32
	haunted    chan struct{}
	lives      lives
	elections  elections
	stack      stack
	observer   *observer
	fleet      *fleet
	producers  []*producer
	nemesis    *nemesis
	log        []history.Record // once nobody writes any more
	published  []history.Published
	stalled    string // see history.Run
}

// result is the last line of a run.
type result struct {
	Seconds    float64        `json:"seconds"`
	Seed       uint64         `json:"seed"`
	Events     int            `json:"events"`
	Effects    int            `json:"effects"`
	Faults     int            `json:"faults"`
	ByKind     map[string]int `json:"faults_by_kind"`
	Lost       int            `json:"lost"`
	Doubled    int            `json:"doubled"`
	Phantom    int            `json:"phantom"`
	Reordered  int            `json:"reordered"`
	Violations int            `json:"violations"`       // of all rules
	Published  int            `json:"published"`        // what came through the outbox
	Charges    int            `json:"charges"`          // requests to the provider
	Resolved   int            `json:"unknown_resolved"` // COMMITs without an answer whose outcome was found out
	Unknown    int            `json:"unknown"`          // those whose outcome was not: the next owner finds it in the tables
	Losses     int            `json:"losses"`           // failovers and crashes in which commits could be lost
	WentBack   int            `json:"went_back"`        // checkpoints, as they were seen
	Rewinds    int            `json:"rewinds"`          // that workers told, by partition
	Surprises  map[string]int `json:"surprises"`        // workers that ended by themselves, by their last words
	Standstill float64        `json:"longest_standstill_seconds"`
}

func (r *runner) sayf(format string, args ...any) {
	_, _ = fmt.Fprintf(r.stderr, "%7.2fs %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

// run is a run from its start to its verdict.
func (r *runner) run(ctx context.Context) (result, history.Verdict, error) {
	r.began = time.Now()
	tables, err := r.live(ctx)
	err = errors.Join(err, r.stack.stop())
	if err != nil {
		return result{}, nil, err
	}

	return r.judge(tables)
}

// live is a run until all is mended and processed. It returns what the tables hold then.
func (r *runner) live(ctx context.Context) (tables history.Tables, err error) {
	programs, err := r.plan.build(ctx, r.folder)
	if err != nil {
		return tables, err
	}
	if err := r.stack.startKafka(ctx, r.plan); err != nil {
		return tables, err
	}
	if err := r.lives.begin(ctx, &r.stack); err != nil {
		return tables, err
	}
	r.elections.mode = r.plan.promise.Mode
	if err := r.elections.begin(ctx, &r.stack); err != nil {
		return tables, err
	}
	r.sayf("Apache Kafka runs")
	if err := r.stack.startPostgres(ctx, r.plan, r.sayf); err != nil {
		return tables, err
	}
	r.sayf("PostgreSQL runs")
	if r.stack.provider, err = startProvider(ctx); err != nil {
		return tables, err
	}
	client, err := ops.New(r.stack.pool, ops.Config{})
	if err != nil {
		return tables, err
	}
	r.haunted = make(chan struct{})
	r.partitions.Store(int32(r.plan.partitions)) //nolint:gosec // They are few.
	r.observer = newObserver(&r.stack, r.plan.promise.Mode, r.all)
	r.fleet = &fleet{plan: r.plan, stack: &r.stack, folder: r.folder, programs: programs, sayf: r.sayf, protocol: r.plan.protocol, surprise: map[string]int{}}
	r.nemesis = &nemesis{
		plan: r.plan, stack: &r.stack, fleet: r.fleet, observer: r.observer, ops: client, partitions: &r.partitions, haunted: r.haunted, lives: &r.lives, elections: &r.elections,
		sayf: r.sayf, caused: map[string]int{},
	}
	r.producers = newProducers(r.plan, r.stack.brokers, &r.partitions, r.haunted, r.mustWait)

	observing, stopObserving := context.WithCancel(ctx)
	var background sync.WaitGroup
	defer func() {
		r.fleet.stop(ctx)
		stopObserving()
		background.Wait()
	}()
	background.Go(func() { r.observer.run(observing) })
	background.Go(func() { r.progress(observing) })
	background.Go(func() { r.stack.supervise(observing, r.sayf) })
	if err := r.fleet.fill(ctx); err != nil {
		return tables, err
	}
	if err := r.observer.await(ctx); err != nil {
		return tables, err
	}
	r.sayf("everything runs")
	if err := r.trouble(ctx); err != nil {
		return tables, err
	}
	if err := r.drain(ctx); err != nil {
		return tables, err
	}
	r.fleet.stop(ctx)

	return readTables(ctx, &r.stack, r.plan.promise.Mode)
}

// trouble has producers produce and the nemesis break things, for as long as the plan says. Then it mends all.
func (r *runner) trouble(ctx context.Context) error {
	producing, stopProducing := context.WithCancel(ctx)
	defer stopProducing()
	errs := make([]error, len(r.producers))
	var running sync.WaitGroup
	for i, p := range r.producers {
		running.Go(func() { errs[i] = p.run(producing) })
	}
	r.observer.idle()
	began := time.Now()
	r.nemesis.run(ctx, began)
	wait(ctx, time.Until(began.Add(r.plan.duration)))
	stopProducing()
	err := errors.Join(r.stack.mend(ctx), r.nemesis.resume(ctx), r.nemesis.lift(ctx), r.fleet.takeBack(ctx))
	running.Wait()

	return errors.Join(errors.Join(errs...), err, ctx.Err())
}

// drain waits until all records are processed, and all dead letters replayed.
func (r *runner) drain(ctx context.Context) (err error) {
	r.sayf("all is mended: %d faults", r.nemesis.count())
	deadline := time.Now().Add(r.plan.patience)
	ends, err := endsOf(ctx, r.stack.admin, slices.Concat(r.all(), partitionsOf(fleeting, fleetingPartitions), partitionsOf(frail, frailPartitions)))
	if err != nil {
		return err
	}
	log, err := readLog(ctx, r.stack.brokers, ends)
	if err != nil {
		return err
	}
	ends = map[history.Partition]int64{} // Behind the last record there may be markers of transactions.
	var last []string                    // events of the topics whose checkpoints may be of a log that is gone
	for _, record := range log {
		of := recordOf(r.plan.promise.Mode, record)
		switch of.Topic {
		case outcomes: // There will be more.
			continue
		case fleeting, frail:
			last = append(last, of.Event)
		default:
			ends[of.Partition] = max(ends[of.Partition], of.Offset+1)
		}
		r.log = append(r.log, of)
	}
	for times := 0; times < 2; { // What was observed first may be from before a fault.
		unresolved, unsent, undone := r.replayAll(ctx, last)
		if err := r.endOfOutcomes(ctx, ends); err != nil {
			return err
		}
		checkpoints, committed := r.observer.behind(ends)
		times++
		if unresolved != 0 || unsent != 0 || undone != 0 || checkpoints != 0 || committed != 0 {
			times = 0
		}
		if times == 0 && time.Now().After(deadline) {
			r.stalled = fmt.Sprintf("%v after everything was mended the checkpoints are %d records behind, the group's offsets %d, %d dead letters are unresolved, %d records in the outbox, and %d of the fleeting and the frail topic not processed",
				r.plan.patience, checkpoints, committed, unresolved, unsent, undone)

			break
		}
		wait(ctx, time.Second)
		if err := ctx.Err(); err != nil {
			return err
		}
	}

	return r.readOutcomes(ctx, ends)
}

// replayAll requests the replay of all dead letters, and tells how many are unresolved, how many records wait in the
// outbox, and how many of some events have no effect; -1 if that is not known.
func (r *runner) replayAll(ctx context.Context, events []string) (unresolved, unsent, undone int) {
	err := r.nemesis.replayLetters(ctx, fault{})
	if err == nil {
		err = r.stack.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM idem.dead_letters WHERE resolved_at IS NULL), (SELECT count(*) FROM idem.outbox),
			(SELECT count(*) FROM unnest($1::text[]) AS event WHERE event NOT IN (SELECT event_id FROM public.effects))`, events).
			Scan(&unresolved, &unsent, &undone)
	}
	if err != nil {
		return -1, -1, -1
	}

	return unresolved, unsent, undone
}

// endOfOutcomes adds the ends of the topic that the handlers publish to, in which there are no transactions.
func (r *runner) endOfOutcomes(ctx context.Context, ends map[history.Partition]int64) error {
	of, err := endsOf(ctx, r.stack.admin, partitionsOf(outcomes, outcomePartitions))
	maps.Copy(ends, of)

	return err
}

func (r *runner) readOutcomes(ctx context.Context, ends map[history.Partition]int64) error {
	maps.DeleteFunc(ends, func(p history.Partition, _ int64) bool { return p.Topic != outcomes })
	log, err := readLog(ctx, r.stack.brokers, ends)
	for _, record := range log {
		p := history.Published{Record: recordOf(consume.ByEventID, record)} // An id is an id here.
		for _, h := range record.Headers {
			if h.Key != effectHeader {
				continue
			}
			if err := json.Unmarshal(h.Value, &p.With); err != nil {
				return fmt.Errorf("what was published at %v: %w", p.Place, err)
			}
		}
		r.log = append(r.log, recordOf(r.plan.promise.Mode, record))
		r.published = append(r.published, p)
	}

	return err
}

// mustWait tells producers to wait while workers are far behind.
func (r *runner) mustWait() bool {
	const far = 3000

	return r.observer.lag() > far
}

// all are the partitions that there are.
func (r *runner) all() []history.Partition {
	return append(partitionsOf(topic, r.partitions.Load()), partitionsOf(outcomes, outcomePartitions)...)
}

func partitionsOf(topic string, count int32) (all []history.Partition) {
	for number := range count {
		all = append(all, history.Partition{Topic: topic, Partition: number})
	}

	return all
}

func (r *runner) progress(ctx context.Context) {
	for {
		wait(ctx, 5*time.Second)
		if ctx.Err() != nil {
			return
		}
		r.sayf("%d workers (%s), about %d records to do, %d faults", r.fleet.size(), r.fleet.currentProtocol(), r.observer.lag(), r.nemesis.count())
	}
}

// judge reads the histories and has them checked.
func (r *runner) judge(tables history.Tables) (result, history.Verdict, error) {
	entries, err := history.Read(r.folder)
	if err != nil {
		return result{}, nil, err
	}
	run := history.Run{
		Entries: entries, Seen: r.observer.seen, Losses: r.nemesis.losses, Resets: r.nemesis.resets, Log: r.log, Tables: tables,
		Sent: r.elections.sent, Elections: r.elections.held,
		Unfenced: r.plan.promise.Mode == consume.ByEventID, Parked: r.plan.promise.Parks, Gone: r.lives.sent, Stalled: r.stalled, Published: r.published, Charges: r.stack.provider.history(),
	}
	for _, p := range r.producers {
		run.Sent = append(run.Sent, p.history()...)
	}
	if err := writeJSON(filepath.Join(r.folder, runFile), run); err != nil {
		return result{}, nil, err
	}
	verdict := history.Check(run)
	res := result{
		Seconds: time.Since(r.began).Seconds(), Seed: r.plan.seed, Events: len(run.Log) - len(run.Published), Published: len(run.Published), Charges: len(run.Charges), Effects: len(tables.Effects),
		Faults: r.nemesis.count(), ByKind: r.nemesis.caused,
		Lost: verdict.Count(history.Lost), Doubled: verdict.Count(history.Doubled), Phantom: verdict.Count(history.Phantom),
		Reordered: verdict.Count(history.Reordered), Violations: len(verdict),
		Losses: len(r.nemesis.losses), Surprises: r.fleet.surprise, Standstill: r.observer.standstill.Seconds(),
	}
	last := map[history.Partition]int64{}
	for _, s := range run.Seen {
		if s.Checkpoint >= 0 {
			if s.Checkpoint < last[s.Partition] {
				res.WentBack++
			}
			last[s.Partition] = s.Checkpoint
		}
	}
	for _, e := range entries {
		switch e.Kind {
		case history.Resolved:
			res.Resolved++
		case history.Unknown:
			res.Unknown++
		case history.Rewound:
			res.Rewinds++
		default:
		}
	}

	return res, verdict, nil
}
