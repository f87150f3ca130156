package idemhttp_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/idemhttp"
	"github.com/nova-events/idempotent-consumer/internal/await"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// envRounds is how many rounds TestKilledServers has. By default each kill happens once with each policy.
const envRounds = "IDEM_TEST_HTTP_ROUNDS"

// moment is when a server is killed, in the first attempt of a round.
type moment int

const (
	never moment = iota
	beforeTheCharge
	inTheCharge // the provider has charged, and not answered
	afterTheCharge
	sometime // one of them, whatever it is doing
)

const moments = int(sometime) + 1

// killer is the provider of servers, which counts, and kills them.
type killer struct {
	t       *testing.T
	servers []*process

	mu     sync.Mutex
	calls  map[string]int // by key
	kill   moment         // of this round, until it has happened
	killed map[*process]bool
}

// Of 100 equal requests one has an effect, while servers are killed. The others get its response, 409, or none at all.
func TestKilledServers(t *testing.T) {
	t.Parallel()
	rounds := 2 * moments
	if n, err := strconv.Atoi(os.Getenv(envRounds)); err == nil {
		rounds = n
	}
	k := &killer{t: t, calls: map[string]int{}, killed: map[*process]bool{}}
	provider := httptest.NewServer(k)
	defer provider.Close()
	db := pgtest.NewDB(t)
	for i := range 2 {
		p := &process{job: job{DSN: db.DSN, Provider: provider.URL, Name: strconv.Itoa(i)}}
		p.start(t)
		defer p.stop(t)
		k.servers = append(k.servers, p)
	}
	balancer := httptest.NewServer(http.HandlerFunc(k.balance))
	defer balancer.Close()
	for round := range rounds {
		path := []string{pathRerun, pathDecide}[round/moments%2]
		k.round(balancer.URL+path, fmt.Sprint("round-", round), moment(round%moments))
	}
	t.Logf("%d rounds, %d charges", rounds, len(k.calls))
}

// ServeHTTP is what servers call.
func (k *killer) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	key, _ := io.ReadAll(r.Body)
	i, _ := strconv.Atoi(r.Header.Get("Server"))
	k.mu.Lock()
	defer k.mu.Unlock()
	if r.URL.Path == "/charge" {
		k.calls[string(key)]++
	}
	if at := map[string]moment{"/before": beforeTheCharge, "/charge": inTheCharge, "/after": afterTheCharge}[r.URL.Path]; at == k.kill {
		k.strike(k.servers[i])
	}
}

// strike kills a server, once in a round. Its caller has locked.
func (k *killer) strike(p *process) {
	k.kill = never
	k.killed[p] = true
	p.kill()
}

// balance passes a request on to any server, which may be dead.
func (k *killer) balance(w http.ResponseWriter, r *http.Request) {
	p := k.servers[rand.IntN(len(k.servers))]
	p.mu.Lock()
	address := p.address
	p.mu.Unlock()
	request := r.Clone(r.Context())
	request.URL.Scheme, request.URL.Host, request.RequestURI = "http", address, ""
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)

		return
	}
	defer response.Body.Close() //nolint:errcheck // It is read.
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)

		return
	}
	w.Header().Set("Retry-After", response.Header.Get("Retry-After"))
	w.WriteHeader(response.StatusCode)
	_, _ = w.Write(body)
}

func (k *killer) round(url, key string, at moment) {
	k.t.Helper()
	k.mu.Lock()
	k.kill = at
	k.mu.Unlock()
	began := time.Now()
	var running sync.WaitGroup
	for range 100 {
		running.Go(func() {
			switch status, body := k.send(url, key); status {
			case http.StatusCreated:
				if body != "charged "+key {
					k.t.Errorf("%s: got %q", key, body)
				}
			case http.StatusConflict, http.StatusBadGateway, http.StatusServiceUnavailable: // of the balancer; on a busy machine
			default:
				k.t.Errorf("%s: got %d %s", key, status, body)
			}
		})
	}
	if at == sometime {
		time.Sleep(rand.N(50 * time.Millisecond)) //nolint:forbidigo // Whatever goes on then.
		k.mu.Lock()
		k.strike(k.servers[rand.IntN(len(k.servers))])
		k.mu.Unlock()
	}
	running.Wait()
	struck := len(k.killed) > 0
	if at != never && !struck {
		k.t.Errorf("%s: nobody was killed", key)
	}
	for _, p := range k.servers {
		p.restart(k.t, k.killed[p])
	}
	clear(k.killed)
	k.settle(url, key, struck || time.Since(began) >= serverLease)
}

// settle repeats the request until it is settled, and counts. Only where a lease may have been lost somebody may have to decide.
func (k *killer) settle(url, key string, lost bool) {
	k.t.Helper()
	var status int
	var body string
	await.Until(k.t, "the request to be settled", func() bool {
		status, body = k.send(url, key)

		return status != http.StatusServiceUnavailable && (status != http.StatusConflict || !strings.Contains(body, idemhttp.ProblemInProgress))
	})
	k.mu.Lock()
	calls := k.calls["payments/"+idemhttp.EventID("ada", key)+"/charge"]
	k.mu.Unlock()
	undecided := status == http.StatusConflict && strings.Contains(body, idemhttp.ProblemUndecided)
	switch {
	case strings.HasSuffix(url, pathDecide) && calls > 1:
		k.t.Errorf("%s: charged %d times without a decision", key, calls)
	case strings.HasSuffix(url, pathDecide) && lost && undecided:
	case status != http.StatusCreated || body != "charged "+key || calls == 0:
		k.t.Errorf("%s: got %d %s after %d charges", key, status, body, calls)
	}
}

// send sends the request. Each goes over a connection of its own to the balancer.
func (k *killer) send(url, key string) (status int, body string) {
	request, err := http.NewRequestWithContext(context.WithoutCancel(k.t.Context()), http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		k.t.Error(err)

		return 0, ""
	}
	request.Header.Set("Authorization", "ada")
	request.Header.Set("Idempotency-Key", key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		k.t.Error(err)

		return 0, ""
	}
	defer response.Body.Close() //nolint:errcheck // It is read.
	body, err = readAll(response)
	if err != nil {
		k.t.Error(err)
	}

	return response.StatusCode, body
}
