package idemtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// mostTransactions is how many transactions of a Subject crash in Check: the first ones.
	mostTransactions = 4

	// mostStatements is how many statements of a Subject fail in Check: the first ones.
	mostStatements = 12
)

// Check delivers the subject that setup returns in the ways that production does, each time on a fresh
// database, and fails with the first thing that is wrong:
//
//   - once: handlers must write only through their tx, report each failed statement, and not use tx after
//     they have returned
//   - again: nothing may change, whether the offset was set back or the events are produced again
//   - several times at once: eight calls for each event, or three members for each partition
//   - with one statement failing, each of the first twelve in its turn: the handler must return an error, unless
//     the statement was in a savepoint that it has rolled back. Statements of a consume.QueueHandler do not fail,
//     because the handler does not read their answers
//   - with a crash at each Point of each of the first four transactions, and delivered again
//
// After each of these the tables must contain what they contain after an undisturbed delivery, and what
// Outside counts must have been done as often. Columns whose values differ between two undisturbed
// deliveries, such as times, random ids and numbers from sequences, do not count.
//
// setup creates the service anew: its own tables, a guard on the pool, handlers with all that they use. It may
// use the t of the surrounding test. Two or three events are enough; Check reads all rows of the tables.
// Handlers may run in several goroutines.
func Check(t testing.TB, setup func(pool *pgxpool.Pool) Subject) {
	t.Helper()
	c := &check{t: t, setup: setup}
	c.steps(c.once, c.twice, c.race, c.failures, c.crashes)
}

// CheckAnyOrder fails the test unless the events have the same effect in any order: with each pair swapped,
// and in reverse. Use it because events that are produced again, and topics or partitions that are read at
// the same time, come in no fixed order. setup is as in Check.
func CheckAnyOrder(t testing.TB, setup func(pool *pgxpool.Pool) Subject) {
	t.Helper()
	c := &check{t: t, setup: setup}
	c.steps(c.once, c.anyOrder)
}

// steps takes one step after the other until something is wrong.
func (c *check) steps(steps ...func() (wrong string)) {
	c.t.Helper()
	for _, step := range steps {
		if wrong := step(); wrong != "" {
			c.t.Fatalf("idemtest: %s", wrong)
		}
	}
}

type check struct {
	t     testing.TB
	setup func(pool *pgxpool.Pool) Subject

	probes       []*probe
	want         contents // after an undisturbed delivery
	ignored      columns
	outside      []int // how often each thing was done
	statements   int   // that they sent
	transactions int
	events       int
}

// scenario is a Subject on a database of its own.
type scenario struct {
	Subject

	ctx    context.Context //nolint:containedctx // It is that of the scenario.
	db     *database
	direct *pgx.Conn
	probe  *probe
}

// try runs a scenario and returns what is wrong: what run says, or what the probe has found.
func (c *check) try(name string, run func(s *scenario) error) (wrong string) {
	c.t.Helper()
	tb := &scope{TB: c.t}
	defer tb.end()
	pool := Pool(tb)
	ctx, cancel := context.WithTimeoutCause(c.t.Context(), patience, fmt.Errorf("it took longer than %v", patience))
	defer cancel()
	s := &scenario{ctx: ctx, db: databaseOf(tb, pool), probe: &probe{}, Subject: c.setup(pool)}
	c.probes = append(c.probes, s.probe)
	switch {
	case s.err != nil:
		return s.err.Error()
	case s.guard == nil:
		return "the Subject has no guard: make it with Events, Records or Calls"
	}
	if s.guard.Pool().Config().ConnString() != pool.Config().ConnString() {
		return "the guard's pool is neither the one that setup was given, nor one with its ConnString"
	}
	var err error
	if s.direct, err = pgx.Connect(ctx, s.db.direct); err != nil {
		return fmt.Sprintf("connect: %v", err)
	}
	defer s.direct.Close(context.WithoutCancel(ctx)) //nolint:errcheck // Nothing is pending on it.
	err = run(s)
	for _, p := range c.probes { // A goroutine that a handler has left behind may do something later.
		if found := p.first(); found != "" {
			return name + ": " + found
		}
	}
	if err != nil {
		return name + ": " + err.Error()
	}

	return ""
}

func (s *scenario) deliver(ctx context.Context) error { return s.delivery.deliver(ctx, s.probe) }

// once delivers undisturbed, twice: the second time numbers from sequences are others.
func (c *check) once() string {
	wrong := c.try("delivered once", func(s *scenario) (err error) {
		s.probe.look = func() (contents, error) { return read(s.ctx, s.direct) }
		if c.transactions, err = transactions(s.ctx, s.db, s.deliver); err != nil {
			return err
		}
		c.statements, c.events = s.probe.sent(), s.delivery.count()
		for _, o := range s.outside {
			c.outside = append(c.outside, o.count())
		}
		c.want, err = read(s.ctx, s.direct)

		return err
	})
	if wrong != "" {
		return wrong
	}

	return c.try("delivered once, in two databases", func(s *scenario) error {
		if err := skipNumbers(s.ctx, s.direct); err != nil {
			return err
		}
		if err := s.deliver(s.ctx); err != nil {
			return err
		}
		got, err := read(s.ctx, s.direct)
		if err != nil {
			return err
		}
		c.ignored = unlike(c.want, got)

		return c.judge(s)
	})
}

func (c *check) twice() string {
	return c.try("delivered again", func(s *scenario) error {
		if err := s.deliver(s.ctx); err != nil {
			return err
		}
		if err := s.delivery.again(s.ctx, s.probe); err != nil {
			return err
		}

		return c.judge(s)
	})
}

func (c *check) race() string {
	return c.try("delivered several times at once", func(s *scenario) error {
		if err := s.delivery.race(s.ctx, s.probe); err != nil {
			return err
		}

		return c.judge(s)
	})
}

// failures has one statement fail in each scenario. What the tables hold then is up to the handler, which may do
// without the statement.
func (c *check) failures() string {
	for n := 1; n <= min(c.statements, mostStatements); n++ {
		wrong := c.try(fmt.Sprintf("statement %d of the handlers failed", n), func(s *scenario) error {
			s.probe.fails = n
			_ = s.deliver(s.ctx) // As the handler says.

			return nil
		})
		if wrong != "" {
			return wrong
		}
	}

	return ""
}

func (c *check) crashes() string {
	for n := 1; n <= min(c.transactions, mostTransactions); n++ {
		for _, at := range points {
			name := at.String() + ", then delivered again"
			if c.transactions > 1 {
				name = fmt.Sprintf("%v of transaction %d, then delivered again", at, n)
			}
			wrong := c.try(name, func(s *scenario) error {
				reached, err := crash(s.ctx, s.db, s.guard.Pool(), at, n, s.deliver)
				if !reached && err != nil {
					return err
				}
				if err := s.delivery.again(s.ctx, s.probe); err != nil {
					return err
				}

				return c.judge(s)
			})
			if wrong != "" {
				return wrong
			}
		}
	}

	return ""
}

// anyOrder delivers in other orders.
func (c *check) anyOrder() string {
	c.ignored.add(deadLetters, "offset") // They are others.
	c.ignored.add(processedEvents, "event")
	for _, order := range orders(c.events) {
		wrong := c.try(fmt.Sprintf("delivered in the order %v of the events", order), func(s *scenario) error {
			s.delivery.reorder(order)
			if err := s.deliver(s.ctx); err != nil {
				return err
			}

			return c.judge(s)
		})
		if wrong != "" {
			return wrong
		}
	}

	return ""
}

// orders are those of n things with each pair swapped, and in reverse.
func orders(n int) [][]int {
	first := make([]int, n)
	for i := range first {
		first[i] = i
	}
	reverse := slices.Clone(first)
	slices.Reverse(reverse)
	all := [][]int{reverse}
	for i := range n {
		for j := range i {
			swapped := slices.Clone(first)
			swapped[i], swapped[j] = j, i
			if !slices.Equal(swapped, reverse) {
				all = append(all, swapped)
			}
		}
	}

	return all
}

// judge compares what has come of a scenario with what came of an undisturbed delivery.
func (c *check) judge(s *scenario) error {
	got, err := read(s.ctx, s.direct)
	if err != nil {
		return err
	}
	var wrong []string
	if text := deviation(c.want, got, c.ignored); text != "" {
		wrong = append(wrong, text)
	}
	for i, o := range s.outside {
		if n := o.count(); n != c.outside[i] {
			wrong = append(wrong, fmt.Sprintf("%s: %d, want %d; handlers run again after a crash, so write down in tx what is to be done outside", o.what, n, c.outside[i]))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("not what an undisturbed delivery does: %s", strings.Join(wrong, "; "))
	}

	return nil
}

// scope is a part of a test, with cleanups of its own.
type scope struct {
	testing.TB

	cleanups []func()
}

// Cleanup has f called at the end of the part.
func (s *scope) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

func (s *scope) end() {
	for len(s.cleanups) > 0 {
		last := len(s.cleanups) - 1
		f := s.cleanups[last]
		s.cleanups = s.cleanups[:last]
		f()
	}
}
