package idemhttp_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idemhttp"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/lease"
)

// provider charges once for each key, as payment providers do.
type provider struct {
	mu    sync.Mutex
	calls map[string]int // by key
}

// charge returns how often it was called with the key.
func (p *provider) charge(key string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[key]++

	return p.calls[key]
}

// kill is what happens to the first attempt of a round.
type kill int

const (
	none              kill = iota
	beforeTheEffect        // nothing is heard of the process any more
	afterTheEffect         // the same
	connectionsCut         // all, while the handler runs
	beginningCut           // at the COMMIT that begins an attempt
	beginningAnswered      // the same, its answer is lost
	kills
)

// Of 100 equal requests at once one has an effect, whatever is killed. The others get its response, or 409.
func TestRace(t *testing.T) {
	t.Parallel()
	pool, proxy := behindProxy(t)
	for name, policy := range map[string]lease.Policy{"decide": lease.NeedsDecision(), "rerun": lease.Rerun()} {
		r := &race{t: t, pool: pool, proxy: proxy, provider: &provider{calls: map[string]int{}}, reruns: name == "rerun"}
		server := newOnce(t, pool, lease.Config{Unknown: policy, Backoff: lease.NoBackoff}, idemhttp.Config{})(r)
		for round := range 100 {
			r.round(server, fmt.Sprintf("%s-%d", name, round), kill(round)%kills)
		}
	}
}

type race struct {
	t        *testing.T
	pool     *pgxpool.Pool
	proxy    *pgtest.Proxy
	provider *provider
	reruns   bool

	mu   sync.Mutex
	key  string
	kill kill // of the first attempt of the round
}

// ServeHTTP charges.
func (r *race) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	key, kill := r.key, r.kill
	r.kill = none
	r.mu.Unlock()
	attempt, _ := idemhttp.AttemptFrom(request.Context())
	if kill == beforeTheEffect {
		crash(r.t, request, r.pool, key)
		runtime.Goexit()
	}
	calls := r.provider.charge(attempt.Key("charge"))
	switch {
	case calls > 1 && !r.reruns:
		r.t.Errorf("%s: charged again without a decision", key)
	case calls > attempt.Number:
		r.t.Errorf("%s: %d effects in %d attempts", key, calls, attempt.Number)
	case kill == afterTheEffect:
		crash(r.t, request, r.pool, key)
		runtime.Goexit()
	case kill == connectionsCut:
		r.proxy.CutAll()
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, "charged %s", key)
}

func (r *race) round(server http.Handler, key string, k kill) {
	r.t.Helper()
	r.mu.Lock()
	r.key, r.kill = key, k
	r.mu.Unlock()
	if k == beginningCut || k == beginningAnswered {
		at, seen := 1+rand.N(3), 0
		mode := map[kill]pgtest.CutMode{beginningCut: pgtest.DropBeforeCommit, beginningAnswered: pgtest.DropAfterCommit}[k]
		r.proxy.CutNextStatement(mode, func(sql string) bool {
			if pgtest.IsCommit(sql) {
				seen++
			}

			return seen == at
		})
	}
	var running sync.WaitGroup
	for range 100 {
		running.Go(func() { r.judge(answer(server, request(key, "{}")), key) })
	}
	running.Wait()
	r.settle(server, key, k)
}

func (r *race) judge(a *httptest.ResponseRecorder, key string) {
	if a.Code != http.StatusConflict && (a.Code != http.StatusCreated || a.Body.String() != "charged "+key) {
		r.t.Errorf("%s: got %d %s", key, a.Code, a.Body)
	}
}

// settle has the lease of a crashed attempt end, and looks at what came of the round.
func (r *race) settle(server http.Handler, key string, k kill) {
	r.t.Helper()
	crashed := k == beforeTheEffect || k == afterTheEffect
	if crashed {
		expire(r.t, r.pool, key)
	}
	a := answer(server, request(key, "{}"))
	for deadline := time.Now().Add(time.Minute); strings.Contains(a.Body.String(), idemhttp.ProblemInProgress) && time.Now().Before(deadline); {
		a = answer(server, request(key, "{}"))
	}
	effects := r.provider.calls["payments/"+idemhttp.EventID("ada", key)+"/charge"]
	switch {
	case crashed && !r.reruns:
		wants(r.t, key, a, http.StatusConflict, idemhttp.ProblemUndecided)
	default:
		wants(r.t, key, a, http.StatusCreated, "charged "+key)
		if effects == 0 {
			r.t.Errorf("%s: forgotten", key)
		}
	}
}
