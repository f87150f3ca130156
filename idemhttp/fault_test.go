package idemhttp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idemhttp"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/lease"
)

// behindProxy returns a pool whose connections can be cut.
func behindProxy(t *testing.T) (*pgxpool.Pool, *pgtest.Proxy) {
	t.Helper()
	db := pgtest.NewDB(t)
	proxy := pgtest.NewProxy(t, db)

	return db.Pool(t, pgtest.Via(proxy.Addr())), proxy
}

// Without PostgreSQL the handler does not run, and the client may come again.
func TestWithoutPostgreSQL(t *testing.T) {
	t.Parallel()
	pool, proxy := behindProxy(t)
	handler := &counter{}
	server := newOnce(t, pool, lease.Config{}, idemhttp.Config{})(handler)
	proxy.Refuse()
	a := answer(server, request("k", ""))
	wants(t, "away", a, http.StatusServiceUnavailable, idemhttp.ProblemUnavailable)
	if a.Header().Get("Retry-After") == "" || handler.effects != 0 {
		t.Errorf("Retry-After %q, %d effects", a.Header().Get("Retry-After"), handler.effects)
	}
	proxy.Resume()
	wants(t, "back", answer(server, request("k", "")), http.StatusCreated, "effect 1")
}

// PostgreSQL that goes away while the handler runs takes the response with it: it cannot be stored.
func TestPostgreSQLGoes(t *testing.T) {
	t.Parallel()
	pool, proxy := behindProxy(t)
	server := newOnce(t, pool, lease.Config{Duration: time.Second}, idemhttp.Config{})(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		proxy.Refuse()
		w.WriteHeader(http.StatusCreated)
	}))
	if a := answer(server, request("k", "")); a.Code == http.StatusCreated {
		t.Errorf("got %d, although it is not stored", a.Code)
	}
	proxy.Resume()
	expire(t, pool, "k")
	wants(t, "back", answer(server, request("k", "")), http.StatusConflict, idemhttp.ProblemUndecided)
}

// A lost answer of PostgreSQL, to the beginning or to the end of a request, is no conflict and no failure.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	for commit, name := range []string{"begin", "complete"} {
		for _, mode := range []pgtest.CutMode{pgtest.DropBeforeCommit, pgtest.DropAfterCommit} {
			pool, proxy := behindProxy(t)
			handler := &counter{}
			server := newOnce(t, pool, lease.Config{}, idemhttp.Config{})(handler)
			answer(server, request("warm-up", ""))
			seen := 0
			cut := proxy.CutNextStatement(mode, func(sql string) bool {
				if pgtest.IsCommit(sql) {
					seen++
				}

				return seen == commit+1
			})
			what := fmt.Sprintf("%s, mode %d", name, mode)
			wants(t, what, answer(server, request("k", "")), http.StatusCreated, "effect 2")
			wants(t, what+" again", answer(server, request("k", "")), http.StatusCreated, "effect 2")
			select {
			case <-cut:
			default:
				t.Errorf("%s: nothing was cut", what)
			}
		}
	}
}

// crash ends the process of a request, as far as PostgreSQL can see: nothing is heard of it any more.
func crash(t testing.TB, r *http.Request, pool *pgxpool.Pool, key string) {
	t.Helper()
	const sql = `UPDATE idem.leases SET token = gen_random_uuid() WHERE key = idem.event_key($1)`
	if _, err := pool.Exec(context.WithoutCancel(r.Context()), sql, idemhttp.EventID("ada", key)); err != nil {
		t.Error(err)
	}
}

// A process that crashed holds up a key as long as its lease, not as long as keys are remembered. Then the policy
// decides: nothing is done again in silence.
func TestCrash(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDB(t).Pool(t)
	for name, c := range map[string]struct {
		unknown  lease.Policy
		status   int
		text     string
		unknowns []int // which the attempts were told
	}{
		"decide": {lease.NeedsDecision(), http.StatusConflict, idemhttp.ProblemUndecided, []int{0}},
		"rerun":  {lease.Rerun(), http.StatusCreated, "effect 1", []int{0, 1}},
	} {
		handler := &counter{}
		var told []int
		server := newOnce(t, pool, lease.Config{Unknown: c.unknown}, idemhttp.Config{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			attempt, _ := idemhttp.AttemptFrom(r.Context())
			if told = append(told, attempt.Unknown); len(told) == 1 {
				crash(t, r, pool, name)
				runtime.Goexit()
			}
			handler.ServeHTTP(w, r)
		}))
		var crashed sync.WaitGroup
		crashed.Go(func() { answer(server, request(name, "")) })
		crashed.Wait()
		a := answer(server, request(name, ""))
		wants(t, name+", meanwhile", a, http.StatusConflict, idemhttp.ProblemInProgress)
		if after := a.Header().Get("Retry-After"); after != "5" {
			t.Errorf("Retry-After %q", after)
		}
		var held bool
		const sql = `SELECT until > clock_timestamp() + interval '31 s' FROM idem.leases WHERE key = idem.event_key($1)`
		if err := pool.QueryRow(t.Context(), sql, idemhttp.EventID("ada", name)).Scan(&held); err != nil || held {
			t.Errorf("%s: the key is held up for longer than the lease: %v, %v", name, held, err)
		}
		expire(t, pool, name)
		a = answer(server, request(name, ""))
		wants(t, name, a, c.status, c.text)
		if a.Header().Get("Retry-After") != "" {
			t.Error("the client is told to come again")
		}
		if fmt.Sprint(told) != fmt.Sprint(c.unknowns) {
			t.Errorf("%s: attempts were told of %v unknown ones, want %v", name, told, c.unknowns)
		}
	}
}

// A panic goes on, and nobody guesses what the handler did.
func TestPanic(t *testing.T) {
	t.Parallel()
	server := newOnce(t, pgtest.NewDB(t).Pool(t), lease.Config{}, idemhttp.Config{})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(errBoom) }))
	func() {
		defer func() {
			if got := recover(); got != any(errBoom) {
				t.Errorf("recovered %v", got)
			}
		}()
		answer(server, request("k", ""))
	}()
	wants(t, "again", answer(server, request("k", "")), http.StatusConflict, idemhttp.ProblemUndecided)
}

// A status that is none panics before it is stored.
func TestInvalidStatus(t *testing.T) {
	t.Parallel()
	server := newOnce(t, pgtest.NewDB(t).Pool(t), lease.Config{}, idemhttp.Config{})(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(42) }))
	defer func() {
		if recover() == nil {
			t.Error("it was taken")
		}
	}()
	answer(server, request("k", ""))
}

// A request whose lease was lost does not count, and its handler is told.
func TestLost(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDB(t).Pool(t)
	server := newOnce(t, pool, lease.Config{Duration: 100 * time.Millisecond}, idemhttp.Config{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		crash(t, r, pool, "k")
		<-r.Context().Done()
		if err := context.Cause(r.Context()); !errors.As(err, new(*lease.LostError)) {
			t.Errorf("the cause is %v", err)
		}
		w.WriteHeader(http.StatusCreated)
	}))
	wants(t, "lost", answer(server, request("k", "")), http.StatusConflict, idemhttp.ProblemInProgress)
}

// What the handler writes through the attempt is committed with the response, and steps are not repeated.
func TestAttempt(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDB(t).Pool(t)
	if _, err := pool.Exec(t.Context(), `CREATE TABLE public.payments (id text)`); err != nil {
		t.Fatal(err)
	}
	charges, runs := 0, 0
	server := newOnce(t, pool, lease.Config{Unknown: lease.Rerun(), Backoff: lease.NoBackoff}, idemhttp.Config{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inTx(t, r, nil)
		attempt, _ := idemhttp.AttemptFrom(r.Context())
		_, err := attempt.Step(r.Context(), "charge", func(context.Context) (lease.Result, error) {
			charges++

			return lease.Result{Body: []byte(attempt.Key("charge"))}, nil
		})
		if err != nil {
			t.Error(err)
		}
		if runs++; runs == 1 {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	for _, status := range []int{http.StatusBadGateway, http.StatusOK, http.StatusOK} {
		wants(t, "request", answer(server, request("k", "")), status, "")
	}
	var payments int
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM public.payments`).Scan(&payments); err != nil || payments != 1 || charges != 1 || runs != 2 {
		t.Errorf("%d payments, %d charges in %d runs, %v", payments, charges, runs, err)
	}
}

// The packets of the connection vanish behind the handler: the client gets an answer nevertheless.
func TestConnectionVanishesBehindTheHandler(t *testing.T) {
	t.Parallel()
	pool, proxy := behindProxy(t)
	vanished := make(<-chan struct{})
	server := newOnce(t, pool, lease.Config{Duration: time.Second}, idemhttp.Config{})(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		vanished = proxy.CutNextStatement(pgtest.Swallow, func(sql string) bool { return strings.Contains(sql, "LeaseComplete") })
		w.WriteHeader(http.StatusCreated)
	}))
	answered := make(chan *httptest.ResponseRecorder, 1)
	go func() { answered <- answer(server, request("k", "")) }()
	select {
	case a := <-answered:
		wants(t, "vanished", a, http.StatusConflict, idemhttp.ProblemUndecided)
	case <-time.After(time.Minute):
		t.Error("no answer")
	}
	select {
	case <-vanished:
	default:
		t.Error("nothing vanished")
	}
	proxy.CutAll()
}

// PostgreSQL that does not answer at all holds up nobody for ever.
func TestPostgreSQLHangs(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDB(t).Pool(t, pgtest.MaxConns(1))
	server := newOnce(t, pool, lease.Config{}, idemhttp.Config{})(&counter{})
	taken, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		wants(t, "hangs", answer(server, request("k", "")), http.StatusServiceUnavailable, idemhttp.ProblemUnavailable)
	}()
	select {
	case <-answered:
	case <-time.After(time.Minute):
		t.Error("no answer")
	}
	taken.Release()
	<-answered
}

// What a write of the handler's says of another event is none of the request's: the handler has run, so nobody is told that nothing was
// done, or that another attempt is under way.
func TestErrorsOfOthersInTheHandlersWrite(t *testing.T) {
	t.Parallel()
	for problem, policy := range map[string]lease.Policy{idemhttp.ProblemUndecided: lease.NeedsDecision(), idemhttp.ProblemOutcomeUnknown: lease.Rerun()} {
		for _, err := range []error{&idem.CollisionError{EventID: "of the write"}, &lease.LostError{EventID: "of the write"}, &lease.UndecidedError{EventID: "of the write", Err: errors.New("unknown")}} {
			server := newOnce(t, pgtest.NewDB(t).Pool(t), lease.Config{Unknown: policy}, idemhttp.Config{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				inTx(t, r, err)
				w.WriteHeader(http.StatusCreated)
			}))
			if a := answer(server, request("k", "")); !strings.Contains(a.Body.String(), problem) {
				t.Errorf("%T: got %d %s, want %s", err, a.Code, a.Body, problem)
			}
		}
	}
}
