package lease_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/lease"
	"github.com/nova-events/idempotent-consumer/ops"
)

// provider is the other system: it counts what it has done for each event, and for each key.
type provider struct {
	mu       sync.Mutex
	requests map[string]int
	keys     map[string]bool
	charges  map[string]int // of requests whose keys were new
}

func newProvider() *provider {
	return &provider{requests: map[string]int{}, keys: map[string]bool{}, charges: map[string]int{}}
}

func (p *provider) pay(eventID, key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests[eventID]++
	if !p.keys[key] {
		p.keys[key] = true
		p.charges[eventID]++
	}
}

func (p *provider) requestsOf(eventID string) int {
	p.mu.Lock()
	defer p.mu.Unlock()

	return p.requests[eventID]
}

// model is many processes that share events. Each has connections of its own, by way of a proxy that can cut them.
type model struct {
	*bundle
	*provider

	t        *testing.T
	policy   lease.Policy
	zombies  bool // functions go on when their context has ended
	steps    bool // the effect is a step
	operator *ops.Client
	events   []string
}

// modelEvents is how many events the model processes; each meets several crashes.
const modelEvents = 40

// Many processes crash at each step, lose connections and disagree with the database about the time. The history of the
// leases, as triggers have written it, is checked afterwards.
func TestModel(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]func(m *model) lease.Policy{
		"rerun": func(m *model) lease.Policy {
			m.zombies = true

			return lease.Rerun()
		},
		"needs decision": func(*model) lease.Policy { return lease.NeedsDecision() },
		"ask": func(m *model) lease.Policy {
			m.steps = true

			return lease.Ask(m.look)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &model{bundle: setup(t), provider: newProvider(), t: t}
			m.policy = policy(m)
			m.audit()
			var err error
			if m.operator, err = ops.New(m.pool, ops.Config{}); err != nil {
				t.Fatal(err)
			}
			for i := range modelEvents {
				m.events = append(m.events, fmt.Sprint("event-", i))
			}
			ctx, stop := context.WithCancel(t.Context())
			var others, workers sync.WaitGroup
			others.Go(func() { m.skew(ctx) })
			others.Go(func() { m.decide(ctx) })
			for i := range 6 {
				workers.Go(func() { m.work(uint64(i)) })
			}
			workers.Wait()
			stop()
			others.Wait()
			m.check()
		})
	}
}

// audit has triggers write the history of the leases. A trigger runs while the row is locked, so the numbers order what
// happens to one event.
func (m *model) audit() {
	m.exec(m.t, `CREATE TABLE public.history (
		n bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL DEFAULT clock_timestamp(), event_id text NOT NULL,
		transaction text NOT NULL DEFAULT pg_catalog.pg_current_xact_id()::pg_catalog.text,
		old_token uuid, old_until timestamptz, old_attempts integer, new_token uuid, new_attempts integer, deleted boolean NOT NULL)`)
	m.exec(m.t, `CREATE TABLE public.claims (key uuid NOT NULL, transaction text NOT NULL DEFAULT pg_catalog.pg_current_xact_id()::pg_catalog.text)`)
	m.exec(m.t, `CREATE FUNCTION public.write_claim() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN INSERT INTO public.claims (key) VALUES (NEW.key); RETURN NULL; END $$`)
	m.exec(m.t, `CREATE TRIGGER claims AFTER INSERT ON idem.processed_events FOR EACH ROW EXECUTE FUNCTION public.write_claim()`)
	m.exec(m.t, `CREATE FUNCTION public.write_history() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			INSERT INTO public.history (event_id, old_token, old_until, old_attempts, new_token, new_attempts, deleted)
			SELECT coalesce(NEW.event_id, OLD.event_id), OLD.token, OLD.until, OLD.attempts, NEW.token, NEW.attempts, TG_OP OPERATOR(pg_catalog.=) 'DELETE';
			RETURN NULL;
		END $$`)
	m.exec(m.t, `CREATE TRIGGER history AFTER INSERT OR UPDATE OR DELETE ON idem.leases FOR EACH ROW EXECUTE FUNCTION public.write_history()`)
}

// skew makes leases end later than their processes think, or sooner, which makes zombies of them.
func (m *model) skew(ctx context.Context) {
	skews := []time.Duration{200 * time.Millisecond, -time.Second}
	if !m.zombies {
		skews = skews[:1]
	}
	every(ctx, time.Millisecond, func() {
		_, err := m.pool.Exec(ctx, `UPDATE idem.leases SET until = clock_timestamp() + $2::interval WHERE state = 'running' AND event_id = $1`,
			m.events[rand.IntN(len(m.events))], skews[rand.IntN(len(skews))])
		if err != nil && ctx.Err() == nil {
			m.t.Error(err)
		}
	})
}

// every does something again and again, with pauses, until ctx ends.
func every(ctx context.Context, pause time.Duration, do func()) {
	due := time.NewTicker(pause)
	defer due.Stop()
	for ctx.Err() == nil {
		do()
		select {
		case <-due.C:
		case <-ctx.Done():
		}
	}
}

// decide is the operator, who sees what the provider has done.
func (m *model) decide(ctx context.Context) {
	every(ctx, 10*time.Millisecond, func() {
		undecided, err := m.operator.Leases(ctx, ops.LeaseFilter{States: []ops.LeaseState{ops.LeaseUndecided}})
		for _, l := range undecided {
			if m.requestsOf(l.EventID) > 0 {
				body := fmt.Appendf(nil, "attempt %d", l.Attempts)
				_, err = m.operator.CompleteLease(ctx, l.Consumer, l.EventID, ops.LeaseResult{Body: body}, ops.DecisionRequest{})
			} else {
				_, err = m.operator.RerunLease(ctx, l.Consumer, l.EventID, ops.DecisionRequest{})
			}
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, ops.ErrUnknownLease) && !errors.Is(err, ops.ErrLeaseRuns) {
			m.t.Error(err)
		}
	})
}

// look is how Ask looks at the provider.
func (m *model) look(_ context.Context, a *lease.Attempt) (lease.Answer, error) {
	if m.requestsOf(a.EventID) > 0 {
		return lease.TookEffect(text(fmt.Sprintf("attempt %d", a.Number))), nil
	}

	return lease.NoEffect(), nil
}

// work processes all events, each until it is completed. All begin with the same ones, and so meet.
func (m *model) work(seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	proxy := pgtest.NewProxy(m.t, m.db)
	pool := m.db.Pool(m.t, pgtest.Via(proxy.Addr()), pgtest.MaxConns(4))
	for events := m.events; len(events) > 0; {
		var left []string
		for _, id := range events {
			// A crash is the end of all connections at some statement. Afterwards the process is another one.
			if random.IntN(3) == 0 {
				at := random.IntN(12)
				proxy.CutNextStatement(pgtest.CutMode(1+random.IntN(3)), func(string) bool {
					at--

					return at < 0
				})
			}
			if !m.try(random, pool, proxy, id) {
				left = append(left, id)
			}
			proxy.Resume()
		}
		events = left
	}
}

// try is one call of a process, which may crash. It reports whether the event is completed.
func (m *model) try(random *rand.Rand, pool *pgxpool.Pool, proxy *pgtest.Proxy, id string) (completed bool) {
	guard, err := idem.New(pool, idem.Config{Consumer: "payments", Retry: idem.RetryPolicy{MaxAttempts: 3, InitialBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond, ResolveTimeout: time.Second}, Logger: quiet})
	if err != nil {
		m.t.Error(err)

		return true
	}
	leases, err := lease.New(guard, lease.Config{Duration: 150 * time.Millisecond, Backoff: lease.NoBackoff, Unknown: m.policy, Logger: quiet})
	if err != nil {
		m.t.Error(err)

		return true
	}
	var ended sync.WaitGroup
	ended.Go(func() {
		_, err := leases.Do(m.t.Context(), id, func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
			return m.effect(ctx, random, proxy, a)
		})
		completed = err == nil
	})
	ended.Wait()

	return completed
}

// effect charges a card, unless it crashes before. A crash is the end of the goroutine and of all connections.
func (m *model) effect(ctx context.Context, random *rand.Rand, proxy *pgtest.Proxy, a *lease.Attempt) (lease.Result, error) {
	if before := m.requestsOf(a.EventID); before >= a.Number && !m.zombies { // Zombies count when they come to it.
		m.t.Errorf("%s: %d requests before attempt %d", a.EventID, before, a.Number)
	}
	crash := func() {
		proxy.Refuse()
		runtime.Goexit()
	}
	if random.IntN(8) == 0 {
		crash()
	}
	if random.IntN(8) == 0 {
		return lease.Result{}, errBoom
	}
	if m.zombies && random.IntN(8) == 0 {
		time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond) //nolint:forbidigo // It hangs until others may have the event.
	}
	if !m.zombies && ctx.Err() != nil {
		return lease.Result{}, ctx.Err()
	}
	if err := m.charge(ctx, a); err != nil {
		return lease.Result{}, err
	}
	if random.IntN(8) == 0 {
		crash()
	}
	a.InTx(order(a.EventID))

	return text(fmt.Sprintf("attempt %d", a.Number)), nil
}

func (m *model) charge(ctx context.Context, a *lease.Attempt) error {
	pay := func(context.Context) (lease.Result, error) {
		m.pay(a.EventID, a.Key("charge"))

		return lease.Result{}, nil
	}
	if m.steps {
		_, err := a.Step(ctx, "charge", pay)

		return err
	}
	_, err := pay(ctx)

	return err
}

// check reads the history and judges it.
func (m *model) check() {
	m.t.Helper()
	rows, err := m.pool.Query(m.t.Context(), `SELECT h.event_id, h.at, h.old_token::text, h.old_until, coalesce(h.old_attempts, 0) AS old_attempts,
		h.new_token::text, coalesce(h.new_attempts, 0) AS new_attempts, h.deleted, h.transaction = c.transaction AS claims, convert_from(r.body, 'UTF8') AS result
		FROM public.history h JOIN idem.results r ON r.key = idem.event_key(h.event_id) AND r.step = '' LEFT JOIN public.claims c ON c.key = r.key ORDER BY h.n`)
	if err != nil {
		m.t.Fatal(err)
	}
	history, err := pgx.CollectRows(rows, pgx.RowToStructByName[change])
	if err != nil {
		m.t.Fatal(err)
	}
	attempts := map[string]int{}
	for _, c := range history {
		for _, wrong := range c.judge() {
			m.t.Errorf("%s: %s", c.EventID, wrong)
		}
		attempts[c.EventID] = max(attempts[c.EventID], c.NewAttempts)
	}
	for _, id := range m.events {
		if requests := m.requestsOf(id); requests > attempts[id] || requests == 0 {
			m.t.Errorf("%s: %d requests in %d attempts", id, requests, attempts[id])
		}
		if m.charges[id] != 1 {
			m.t.Errorf("%s: charged %d times", id, m.charges[id])
		}
		if !m.zombies && m.requestsOf(id) != 1 {
			m.t.Errorf("%s: requested %d times, although an operator decides", id, m.requestsOf(id))
		}
		if processed, err := m.guard.IsProcessed(m.t.Context(), id); err != nil || !processed {
			m.t.Errorf("%s is forgotten: %v", id, err)
		}
	}
	if n := m.count(m.t, `SELECT count(*) FROM idem.leases`); n != 0 {
		m.t.Errorf("%d leases are left", n)
	}
	if n := m.count(m.t, `SELECT count(*) FROM (SELECT event_id FROM public.orders GROUP BY 1 HAVING count(*) > 1) o`); n != 0 {
		m.t.Errorf("the caller's write took effect twice for %d events", n)
	}
	m.t.Logf("%d changes of leases, %d requests", len(history), len(m.requests))
}

// change is one of a lease, with the result of its event in the end.
type change struct {
	EventID     string     `db:"event_id"`
	At          time.Time  `db:"at"`
	OldToken    *string    `db:"old_token"`
	OldUntil    *time.Time `db:"old_until"`
	OldAttempts int        `db:"old_attempts"`
	NewToken    *string    `db:"new_token"`
	NewAttempts int        `db:"new_attempts"`
	Deleted     bool       `db:"deleted"`
	Claims      bool       `db:"claims"` // in the transaction that has claimed the event
	Result      string     `db:"result"`
}

// judge returns what is wrong with a change.
func (c change) judge() (wrong []string) {
	taken := c.NewToken != nil && (c.OldToken == nil || *c.OldToken != *c.NewToken)
	if taken && c.NewAttempts != c.OldAttempts+1 {
		wrong = append(wrong, fmt.Sprintf("attempt %d follows %d", c.NewAttempts, c.OldAttempts))
	}
	if taken && c.OldToken != nil && c.OldUntil.After(c.At) {
		wrong = append(wrong, fmt.Sprintf("two live tokens: taken at %v, live until %v", c.At, c.OldUntil))
	}
	if want := fmt.Sprintf("attempt %d", c.OldAttempts); c.Deleted && c.Claims && c.Result != want {
		wrong = append(wrong, fmt.Sprintf("completed with the result of %s by the lease of %s", c.Result, want))
	}

	return wrong
}
