package idemhttptest

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
)

func missingKey(t testing.TB, server Server) {
	s := start(t, server, created)
	c := pay("")
	c.keys = nil
	if a := s.must(c); !a.isProblem(http.StatusBadRequest) {
		t.Errorf("idemhttptest: without a key: got %v, want 400 with %s", a, problem)
	}
	s.wants(0)
}

// invalid are values of the header that are no key.
var invalid = []string{
	``, `""`, `"a`, `a"`, `"a"b`, `"a", "b"`, `a, b`, `a b`, "a\tb", "\"a\tb\"", `"a";b=1`, `a;b=1`, `"\a"`, `"a\"`, "schlüssel", `"schlüssel"`,
	strings.Repeat("a", 256), `"` + strings.Repeat("a", 256) + `"`,
}

func invalidKeys(t testing.TB, server Server) {
	s := start(t, server, created)
	for _, key := range invalid {
		if a := s.must(pay(key)); !a.isProblem(http.StatusBadRequest) {
			t.Errorf("idemhttptest: with the key %s: got %v, want 400 with %s", key, a, problem)
		}
	}
	c := pay("a")
	c.keys = []string{"a", "a"}
	if a := s.must(c); !a.isProblem(http.StatusBadRequest) {
		t.Errorf("idemhttptest: with two headers: got %v, want 400 with %s", a, problem)
	}
	s.wants(0)
	for _, key := range []string{strings.Repeat("a", 255), `"` + strings.Repeat("b", 255) + `"`, `"a \"b\" \\"`, "~!#$%&'()*+-./:<=>?@[]^_`{|}"} {
		if a := s.must(pay(key)); a.status != http.StatusCreated {
			t.Errorf("idemhttptest: with the key %s: got %v, want 201", key, a)
		}
	}
}

func safeMethod(t testing.TB, server Server) {
	s := start(t, server, created)
	for range 2 {
		if a := s.must(call{method: http.MethodGet, path: "/"}); a.status != http.StatusCreated {
			t.Errorf("idemhttptest: GET: got %v, want what the handler answers", a)
		}
	}
	s.wants(2)
}

func replay(t testing.TB, server Server) {
	s := start(t, server, created)
	first := s.must(pay("k"))
	second := s.must(pay("k"))
	if first.status != http.StatusCreated || second.String() != first.String() || second.header.Get("Content-Type") != "text/vnd.effect" {
		t.Errorf("idemhttptest: got %v, then %v of type %s", first, second, second.header.Get("Content-Type"))
	}
	s.wants(1)
}

func replayedHeader(t testing.TB, server Server) {
	s := start(t, server, created)
	const header = "Idempotency-Replayed"
	if first, second := s.must(pay("k")).header.Get(header), s.must(pay("k")).header.Get(header); first != "" || second != "true" {
		t.Errorf("idemhttptest: %s: got %q, then %q; want none, then true", header, first, second)
	}
}

func noCookie(t testing.TB, server Server) {
	s := start(t, server, created)
	if s.must(pay("k")).header.Get("Set-Cookie") == "" {
		t.Error("idemhttptest: the first response has lost its cookie")
	}
	if cookie := s.must(pay("k")).header.Get("Set-Cookie"); cookie != "" {
		t.Errorf("idemhttptest: the replayed response sets the cookie %q", cookie)
	}
}

func rawAndQuoted(t testing.TB, server Server) {
	s := start(t, server, created)
	if raw, quoted := s.must(pay("k-1")), s.must(pay(`"k-1"`)); raw.status != http.StatusCreated || quoted.String() != raw.String() {
		t.Errorf("idemhttptest: got %v, quoted %v", raw, quoted)
	}
	s.wants(1)
}

func otherRequest(t testing.TB, server Server) {
	s := start(t, server, created)
	s.must(pay("k"))
	others := map[string]func(*call){
		"body": func(c *call) { c.body = `{"cents": 1000}` }, "path": func(c *call) { c.path = "/refunds?a=1" }, "query": func(c *call) { c.path = "/payments?a=2" },
	}
	for name, change := range others {
		c := pay("k")
		change(&c)
		if a := s.must(c); !a.isProblem(http.StatusUnprocessableEntity) {
			t.Errorf("idemhttptest: another %s: got %v, want 422 with %s", name, a, problem)
		}
	}
	s.wants(1)
}

func inProgress(t testing.TB, server Server) {
	begun, end := make(chan struct{}, 1), make(chan struct{})
	s := start(t, server, func(w http.ResponseWriter, r *http.Request, effect int64) {
		select {
		case begun <- struct{}{}:
		default:
		}
		select {
		case <-end:
		case <-r.Context().Done():
		}
		created(w, r, effect)
	})
	var first answer
	var running sync.WaitGroup
	running.Go(func() { first, _ = s.send(s.ctx, pay("k")) })
	<-begun
	release := sync.OnceFunc(func() { close(end) })
	defer release()
	later := context.AfterFunc(s.ctx, release) // A server without the promise runs the handler again.
	defer later()
	second := make(chan answer, 1)
	running.Go(func() {
		a, _ := s.send(s.ctx, pay("k"))
		second <- a
		release()
	})
	select {
	case <-begun:
		release()
	case a := <-second:
		if !a.isProblem(http.StatusConflict) || a.header.Get("Retry-After") == "" {
			t.Errorf("idemhttptest: meanwhile: got %v with Retry-After %q, want 409 with %s", a, a.header.Get("Retry-After"), problem)
		}
	}
	running.Wait()
	if a := s.settled(pay("k")); a.String() != first.String() {
		t.Errorf("idemhttptest: got %v, afterwards %v", first, a)
	}
	s.wants(1)
}

func race(t testing.TB, server Server) {
	s := start(t, server, created)
	var running sync.WaitGroup
	answers := make([]answer, 100)
	for i := range answers {
		running.Go(func() { answers[i], _ = s.send(s.ctx, pay("k")) })
	}
	running.Wait()
	want := s.settled(pay("k"))
	for _, a := range answers {
		if a.String() != want.String() && a.status != http.StatusConflict {
			t.Errorf("idemhttptest: got %v, want %v or 409", a, want)
		}
	}
	s.wants(1)
}

func tenants(t testing.TB, server Server) {
	s := start(t, server, func(w http.ResponseWriter, r *http.Request, _ int64) {
		_, _ = w.Write([]byte("the secret of " + r.Header.Get("Authorization"))) //nolint:gosec // It is nothing but a name.
	})
	for _, tenant := range []string{"ada", "bob", "ada", "bob"} {
		c := pay("k")
		c.tenant = tenant
		if a := s.must(c); a.body != "the secret of "+tenant {
			t.Errorf("idemhttptest: %s got %v", tenant, a)
		}
	}
	s.wants(2)
}

func clientGone(t testing.TB, server Server) {
	begun, gone := make(chan struct{}), make(chan struct{})
	s := start(t, server, func(w http.ResponseWriter, r *http.Request, effect int64) {
		if effect == 1 {
			close(begun)
			<-gone
		}
		if r.Context().Err() == nil {
			created(w, r, effect)
		}
	})
	ctx, cancel := context.WithCancel(s.ctx)
	var running sync.WaitGroup
	running.Go(func() { _, _ = s.send(ctx, pay("k")) })
	<-begun
	cancel()
	running.Wait()
	close(gone)
	if a := s.settled(pay("k")); !strings.HasPrefix(a.body, "effect 1 ") {
		t.Errorf("idemhttptest: afterwards: got %v, want the response that the client has missed", a)
	}
	s.wants(1)
}

func tooManyRequests(t testing.TB, server Server) {
	s := start(t, server, func(w http.ResponseWriter, r *http.Request, effect int64) {
		if effect == 1 {
			w.WriteHeader(http.StatusTooManyRequests)

			return
		}
		created(w, r, effect)
	})
	if a := s.must(pay("k")); a.status != http.StatusTooManyRequests {
		t.Errorf("idemhttptest: got %v, want 429", a)
	}
	if a := s.settled(pay("k")); a.status != http.StatusCreated {
		t.Errorf("idemhttptest: afterwards: got %v, want 201", a)
	}
	s.wants(2)
}
