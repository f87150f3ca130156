package idemhttptest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	keyHeader = "Idempotency-Key"
	problem   = "application/problem+json"

	// patience bounds each test.
	patience = time.Minute
)

// service is a handler with an effect, behind the server that is tested.
type service struct {
	t       testing.TB
	url     string
	effects atomic.Int64
	ctx     context.Context //nolint:containedctx // Of the test.
}

// start serves handle, which gets the number of its effect.
func start(t testing.TB, server Server, handle func(w http.ResponseWriter, r *http.Request, effect int64)) *service {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	s := &service{t: t, ctx: ctx}
	running := httptest.NewServer(server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handle(w, r, s.effects.Add(1))
	})))
	t.Cleanup(running.Close)
	s.url = running.URL

	return s
}

// created answers with what only one effect can have.
func created(w http.ResponseWriter, r *http.Request, effect int64) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "text/vnd.effect")
	w.Header().Set("Set-Cookie", "session=secret")
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, "effect %d of %s", effect, body)
}

// answer is a response.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) String() string { return fmt.Sprintf("%d %q", a.status, a.body) }

// isProblem reports whether the answer is the middleware's own, of a status.
func (a answer) isProblem(status int) bool {
	return a.status == status && strings.HasPrefix(a.header.Get("Content-Type"), problem)
}

// call is a request.
type call struct {
	method, path, tenant, body string
	keys                       []string // as they stand in the headers
}

// pay is a request with a key as it stands in the header.
func pay(key string) call {
	return call{method: http.MethodPost, path: "/payments?a=1", tenant: "ada", body: `{"cents": 100}`, keys: []string{key}}
}

// send sends a request. Without an answer the zero value is returned, and the error.
func (s *service) send(ctx context.Context, c call) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, c.method, s.url+c.path, strings.NewReader(c.body))
	if err != nil {
		return answer{}, err
	}
	request.Header = http.Header{keyHeader: c.keys, "Authorization": {c.tenant}, "Content-Type": {"application/json"}}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close() //nolint:errcheck // It was read.
	body, err := io.ReadAll(response.Body)

	return answer{response.StatusCode, response.Header, string(body)}, err
}

// must sends a request that has to be answered.
func (s *service) must(c call) answer {
	s.t.Helper()
	a, err := s.send(s.ctx, c)
	if err != nil {
		s.t.Fatalf("idemhttptest: %s %s: %v", c.method, c.path, err)
	}

	return a
}

// settled sends a request until it is not in progress.
func (s *service) settled(c call) answer {
	s.t.Helper()
	for {
		a := s.must(c)
		if a.status != http.StatusConflict || a.header.Get("Retry-After") == "" {
			return a
		}
		select {
		case <-s.ctx.Done():
			s.t.Fatalf("idemhttptest: it is in progress for ever: %v", a)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// wants fails the test unless the handler had so many effects.
func (s *service) wants(effects int64) {
	s.t.Helper()
	if n := s.effects.Load(); n != effects {
		s.t.Errorf("idemhttptest: %d effects, want %d", n, effects)
	}
}
