package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// The sections of a run, and of its results. What loads measures stands with direct, what idle does with
// e2e.
const (
	sectionDirect    = "direct"
	sectionStorage   = "storage"
	sectionLoads     = "loads"
	sectionExpiry    = "expiry"
	sectionE2E       = "e2e"
	sectionIdle      = "idle"
	sectionConsume   = "consume"
	sectionEffects   = "effects"
	sectionRetention = "retention"
	sectionLarge     = "large"

	eventsPerSecond = "events/s"
)

// sections are what can be measured, in the order of a usual run, which leaves out those that run only alone.
var sections = []struct {
	name    string
	alone   bool
	measure func(*bench, context.Context) error
}{
	{sectionDirect, false, (*bench).base},
	{sectionStorage, false, (*bench).storage},
	{sectionLoads, false, (*bench).loads},
	{sectionExpiry, false, (*bench).expiry},
	{sectionE2E, false, (*bench).endToEnd},
	{sectionIdle, false, (*bench).idle},
	{sectionConsume, false, (*bench).consumeOnly},
	{sectionEffects, false, (*bench).effects},
	{sectionRetention, true, (*bench).retention},
	{sectionLarge, true, (*bench).large},
}

// bench is a run of the benchmark.
type bench struct {
	settings settings
	servers  *servers
	database *database
	tools    *limits
	report   *report
	messages io.Writer
	began    time.Time
	later    []func() // what compares, once everything is measured
}

// run measures everything.
func run(ctx context.Context, s settings, messages io.Writer) (_ *report, err error) {
	began := time.Now()
	r := &report{Schema: schemaVersion, StartedAt: began.UTC().Truncate(time.Second), Command: s.command, Settings: s, Machine: thisMachine(), Git: gitRevision(ctx)}
	b := &bench{settings: s, report: r, messages: messages, began: began}
	if b.servers, err = startServers(ctx, s.PostgreSQL, messages); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.servers.stop()) }()
	if b.database, err = b.servers.newDatabase(ctx, "bench", s.Accounts, 0); err != nil {
		return nil, err
	}
	defer b.database.close()
	if b.tools, err = findLimits(ctx, b.database); err != nil {
		return nil, err
	}
	if b.tools.pgbench == "" {
		b.sayf("no pgbench next to PostgreSQL or in the PATH: pgx alone is the limit of one by one")
	}
	if r.Versions, err = versions(ctx, b.database, b.tools); err != nil {
		return nil, err
	}
	if r.PostgreSQL, err = serverSettings(ctx, b.database); err != nil {
		return nil, err
	}

	for _, section := range sections {
		if s.Section != section.name && (s.Section != "" || section.alone) {
			continue
		}
		if err := section.measure(b, ctx); err != nil {
			return nil, err
		}
	}
	r.compare()
	for _, compare := range b.later {
		compare()
	}
	r.Elapsed = time.Since(began).Round(time.Second).Seconds()

	return r, nil
}

// sayf tells of progress.
func (b *bench) sayf(format string, args ...any) {
	_, _ = fmt.Fprintf(b.messages, "%4.0fs  "+format+"\n", append([]any{time.Since(b.began).Seconds()}, args...)...)
}

// base measures all subjects with events of the plainest kind.
func (b *bench) base(ctx context.Context) error {
	return b.direct(ctx, b.database, baseSubjects(b.settings, b.tools), baseLoad, b.settings.Rounds)
}

// direct measures subjects in interleaved rounds, so that a machine that is busy at times is so
// for all.
func (b *bench) direct(ctx context.Context, d *database, subjects []subject, l load, rounds int) error {
	for round := range rounds {
		for _, x := range inTurn(subjects, round) {
			stop, err := b.startProfile(x.id(l))
			if err != nil {
				return err
			}
			result, err := x.measure(ctx, d, b.settings, l, b.settings.window())
			stop()
			if err != nil {
				return err
			}
			unit := eventsPerSecond
			if x.name == fsyncName {
				unit = "fsyncs/s"
			}
			b.sayf("round %d/%d  %-45s %9.0f %s", round+1, rounds, x.id(l), result.rate, unit)
			b.report.record(measurement{
				ID: x.id(l), Section: sectionDirect, Subject: x.name, Workers: x.workers, Batch: x.size, Load: l, Unit: unit,
			}, result)
		}
	}

	return nil
}

// loads measures the guard and the seed, at its best concurrency, with other events and tables.
func (b *bench) loads(ctx context.Context) error {
	s := b.settings
	if s.LoadRounds == 0 {
		return nil
	}
	workers := func(name string, otherwise []int) int { // Without the base load's figures, as many as are tried.
		if best := b.report.best(name); best != nil {
			return best.Workers
		}

		return slices.Max(otherwise)
	}
	subjects := []subject{
		seedSubject(workers(seedName, s.SeedWorkers)), singleSubject(s.Workers),
		batchSubject(batchName, workers(batchName, s.Sessions), s.Batch),
		batchSubject(bothName, workers(bothName, s.Sessions), s.Batch),
	}
	for _, l := range []load{{IDs: uuid4, Duplicates: 20}, {IDs: uuid4, Duplicates: 90}, {IDs: uuid7}, {IDs: stringID}} {
		if s.Mode == quickMode && l.Duplicates != 20 {
			continue
		}
		if err := b.direct(ctx, b.database, subjects, l, s.LoadRounds); err != nil {
			return err
		}
	}
	if s.Prefilled == 0 {
		return nil
	}
	b.sayf("filling tables with %d rows", s.Prefilled)
	large, err := b.servers.newDatabase(ctx, "bench_prefilled", s.Accounts, s.Prefilled)
	if err != nil {
		return err
	}
	defer large.close()

	return b.direct(ctx, large, subjects, load{IDs: uuid4, Prefilled: s.Prefilled}, s.LoadRounds)
}

// inTurn is the order of a round: every other one goes backwards. What is compared stays side by
// side.
func inTurn[T any](all []T, round int) []T {
	all = slices.Clone(all)
	if round%2 == 1 {
		slices.Reverse(all)
	}

	return all
}
