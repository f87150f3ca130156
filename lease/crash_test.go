package lease_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/lease"
	"github.com/nova-events/idempotent-consumer/ops"
)

// envCrashes is how many crashes TestCrashes makes with each policy. By default each crash happens once at each point.
const envCrashes = "IDEM_TEST_CRASHES"

const (
	policyRerun  = "rerun"
	policyDecide = "needs decision"
	policyAsk    = "ask"
)

// point is where a worker crashes with an event.
type point int

const (
	atBegin       point = iota // before the acquisition
	inAcquisition              // its COMMIT is on its way
	atBefore                   // the effect is next
	inEffect                   // the provider gets the request
	behindEffect               // the provider has charged, and not answered
	atAfter                    // the effect is stored, and its event not completed
	inCompletion               // the lease is about to be deleted
	inCommit                   // the COMMIT of the completion is on its way
	atReturned                 // the event is completed
	anywhere                   // at some time
)

const points = int(anywhere) + 1

// crash is what happens to a worker.
type crash int

const (
	kill   crash = iota // kill -9
	freeze              // SIGSTOP until others may have its lease
	cut                 // it cannot reach PostgreSQL, for a while or for longer than its lease
)

const ways = int(cut) + 1

// city is where workers live: their provider, which counts, and the test, which has them crash. It is an HTTP server in
// the test's process.
type city struct {
	*bundle

	t       *testing.T
	policy  string
	events  int
	server  *httptest.Server
	workers map[string]*worker
	busy    sync.WaitGroup // with crashes that take time

	mu       sync.Mutex
	charges  map[string]int  // of each event, that were carried out; with policyRerun those of a new key
	keys     map[string]bool // the provider looks at them only with policyRerun
	requests map[string]int  // of each event, that were carried out or recognized by their key
	attempts map[string]int  // the latest that paid for each event
	crashed  map[string]bool // events
}

// worker is a process that is started again as often as it is killed.
type worker struct {
	name  string
	proxy *pgtest.Proxy

	mu      sync.Mutex
	process *os.Process // nil: between two
	event   string      // it is busy with; "": none
}

// Processes crash in each way at each point around an effect. With keys nobody is charged twice, without them neither, if
// somebody decides or asks; and no event is forgotten.
func TestCrashes(t *testing.T) {
	t.Parallel()
	events := points * ways
	if n, err := strconv.Atoi(os.Getenv(envCrashes)); err == nil {
		events = n
	}
	for _, policy := range []string{policyRerun, policyDecide, policyAsk} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			c := &city{
				bundle: setup(t), t: t, policy: policy, events: events, workers: map[string]*worker{},
				charges: map[string]int{}, keys: map[string]bool{}, requests: map[string]int{}, attempts: map[string]int{}, crashed: map[string]bool{},
			}
			c.server = httptest.NewServer(c)
			defer c.server.Close()
			var working sync.WaitGroup
			for i := range 4 {
				w := &worker{name: strconv.Itoa(i), proxy: pgtest.NewProxy(t, c.db)}
				c.workers[w.name] = w
			}
			for _, w := range c.workers {
				working.Go(func() { c.employ(w) })
			}
			ctx, stop := context.WithCancel(t.Context())
			var deciding sync.WaitGroup
			if policy == policyDecide {
				deciding.Go(func() { c.decide(ctx) })
			}
			working.Wait()
			stop()
			deciding.Wait()
			c.busy.Wait()
			c.check()
		})
	}
}

// employ runs a worker until all events are completed.
func (c *city) employ(w *worker) {
	dsn, err := c.db.Through(w.proxy)
	if err != nil {
		c.t.Error(err)

		return
	}
	for killed := true; killed; {
		command := exec.CommandContext(c.t.Context(), os.Args[0])          //nolint:gosec // It is this program.
		command.Env = append(os.Environ(), envWorker+"=1", "GOMAXPROCS=1") // They share the machine.
		command.Stderr = os.Stderr
		input, err := command.StdinPipe()
		if err == nil {
			err = command.Start()
		}
		if err != nil {
			c.t.Error(err)

			return
		}
		w.is(command.Process)
		err = json.NewEncoder(input).Encode(job{DSN: dsn, City: c.server.URL, Name: w.name, Policy: c.policy, Events: c.events})
		ended := command.Wait()
		w.is(nil)
		killed = !command.ProcessState.Exited()
		if err = errors.Join(err, ended); err != nil && !killed {
			c.t.Errorf("worker %s: %v", w.name, err)
		}
	}
}

func (w *worker) is(process *os.Process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.process, w.event = process, ""
}

func (w *worker) begins(event string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.event = event
}

func (w *worker) isBusyWith(event string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()

	return w.event == event
}

func (w *worker) signal(signal syscall.Signal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.process != nil {
		_ = w.process.Signal(signal)
	}
}

// ServeHTTP is what workers call.
func (c *city) ServeHTTP(answer http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	w, event := c.workers[query.Get("worker")], query.Get("event")
	switch r.URL.Path {
	case "/at":
		at, _ := strconv.Atoi(query.Get("point"))
		c.at(w, point(at), event)
	case "/charges":
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.charges[event] > 0 {
			_, _ = answer.Write([]byte("paid"))
		}
	case "/pay":
		if how, now := c.due(inEffect, event); now {
			if c.crash(w, how); how == kill {
				return // The request is lost with it.
			}
		}
		attempt, _ := strconv.Atoi(query.Get("attempt"))
		c.pay(event, query.Get("key"), attempt)
		if how, now := c.due(behindEffect, event); now {
			c.crash(w, how)
		}
		_, _ = answer.Write([]byte("paid"))
	}
}

// at has a worker crash where it is, or later.
func (c *city) at(w *worker, at point, event string) {
	if at == atBegin {
		w.begins(event)
		c.atStatement(w, inAcquisition, event, pgtest.IsCommit)
		if how, now := c.due(anywhere, event); now {
			c.later(rand.N(20*time.Millisecond), func() { c.crash(w, how) })
		}
	}
	if at == atAfter {
		c.atStatement(w, inCompletion, event, func(sql string) bool { return strings.HasPrefix(sql, "-- name: LeaseComplete ") })
		c.atStatement(w, inCommit, event, pgtest.IsCommit)
	}
	if at == atReturned {
		w.begins("")
	}
	if how, now := c.due(at, event); now {
		c.crash(w, how)
	}
}

// atStatement has a worker crash when it sends a statement.
func (c *city) atStatement(w *worker, at point, event string, matches func(sql string) bool) {
	how, now := c.due(at, event)
	if !now {
		return
	}
	w.proxy.CutNextStatement(pgtest.CutMode(1+rand.IntN(3)), func(sql string) bool {
		switch {
		case !now || !matches(sql):
			return false
		case how != cut:
			now = false
			c.crash(w, how)
		}

		return how == cut
	})
}

// due reports whether and how an event's worker crashes at a point. Each event causes one crash, unless that of another
// one keeps its worker from getting there.
func (c *city) due(at point, event string) (how crash, now bool) {
	n, _ := strconv.Atoi(strings.TrimPrefix(event, "event-"))
	if point(n%points) != at {
		return 0, false
	}
	how = crash(n / points % ways)
	if at == anywhere && c.policy == policyAsk && how == freeze { // Whoever wakes up between the step's question and its effect charges twice.
		how = kill
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now = !c.crashed[event]
	c.crashed[event] = true

	return how, now
}

// crash has a worker crash, now.
func (c *city) crash(w *worker, how crash) {
	long := workDuration/2 + rand.N(2*workDuration)
	switch how {
	case kill:
		w.signal(syscall.SIGKILL)
	case freeze:
		w.signal(syscall.SIGSTOP)
		c.later(long, func() { w.signal(syscall.SIGCONT) })
	case cut:
		w.proxy.Refuse()
		c.later(long, w.proxy.Resume)
	}
}

// later does something in a while. The end of the test waits for it.
func (c *city) later(while time.Duration, do func()) {
	c.busy.Go(func() {
		time.Sleep(while) //nolint:forbidigo // It is how long a crash takes, and waits for nothing.
		do()
	})
}

// pay charges. With policyRerun it recognizes keys.
func (c *city) pay(event, key string, attempt int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests[event]++
	c.attempts[event] = max(c.attempts[event], attempt)
	if c.policy != policyRerun || !c.keys[key] {
		c.charges[event]++
	}
	c.keys[key] = true
	if c.requests[event] > c.attempts[event] {
		c.t.Errorf("%s: %d requests in %d attempts", event, c.requests[event], c.attempts[event])
	}
}

// decide is the operator. He looks at the provider when no process is busy with the event any more.
func (c *city) decide(ctx context.Context) {
	operator, err := ops.New(c.pool, ops.Config{})
	if err != nil {
		c.t.Error(err)

		return
	}
	every(ctx, 10*time.Millisecond, func() {
		undecided, err := operator.Leases(ctx, ops.LeaseFilter{States: []ops.LeaseState{ops.LeaseUndecided}})
		for _, l := range undecided {
			if !c.isBusyWith(l.EventID) && err == nil {
				err = c.decideAbout(ctx, operator, l)
			}
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, ops.ErrUnknownLease) && !errors.Is(err, ops.ErrLeaseRuns) {
			c.t.Error(err)
		}
	})
}

func (c *city) isBusyWith(event string) bool {
	for _, w := range c.workers {
		if w.isBusyWith(event) {
			return true
		}
	}

	return false
}

func (c *city) decideAbout(ctx context.Context, operator *ops.Client, l ops.Lease) (err error) {
	c.mu.Lock()
	charged := c.charges[l.EventID] > 0
	c.mu.Unlock()
	if charged {
		_, err = operator.CompleteLease(ctx, l.Consumer, l.EventID, ops.LeaseResult{Body: []byte("paid")}, ops.DecisionRequest{})
	} else {
		_, err = operator.RerunLease(ctx, l.Consumer, l.EventID, ops.DecisionRequest{})
	}

	return err
}

// check counts.
func (c *city) check() {
	c.t.Helper()
	repeated := 0
	for n := range c.events {
		event := fmt.Sprint("event-", n)
		repeated += c.requests[event] - c.charges[event]
		if c.charges[event] != 1 {
			c.t.Errorf("%s: charged %d times", event, c.charges[event])
		}
		done, err := newLeases(c.t, c.guard, short).Do(c.t.Context(), event, mustNotRun(c.t))
		wants(c.t, event, done, err, lease.AlreadyProcessed, "paid")
	}
	if 2*len(c.crashed) < c.events || c.policy == policyRerun && repeated == 0 {
		c.t.Errorf("%d crashes, %d repeated requests", len(c.crashed), repeated)
	}
	const twice = `SELECT count(*) FROM (SELECT event_id FROM public.orders GROUP BY 1 HAVING count(*) > 1) o`
	if orders := c.count(c.t, `SELECT count(*) FROM public.orders`); c.count(c.t, twice) != 0 || orders != c.events && c.policy != policyDecide {
		c.t.Errorf("%d writes of %d events", orders, c.events)
	}
	if n := c.count(c.t, `SELECT count(*) FROM idem.leases`); n != 0 {
		c.t.Errorf("%d leases are left", n)
	}
	c.t.Logf("%d crashes, %d requests recognized by their keys", len(c.crashed), repeated)
}
