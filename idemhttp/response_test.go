package idemhttp_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idemhttp"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/lease"
)

// Of the headers of a response only those of the list are stored.
func TestReplayHeaders(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDB(t).Pool(t)
	for want, config := range map[string]idemhttp.Config{
		"Content-Type Etag Location": {},
		"X-Own":                      {ReplayHeaders: []string{"x-own"}},
	} {
		server := newOnce(t, pool, lease.Config{}, config)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Location", "/payments/1")
			w.Header().Set("Set-Cookie", "session=secret")
			w.Header().Set("WWW-Authenticate", "secret")
			w.Header().Set("Connection", "close")
			w.Header().Set("X-Own", "1")
			w.Header()["ETag"] = []string{"as the handler writes it"}
			w.WriteHeader(http.StatusSeeOther)
			w.Header().Set("ETag", "too late")
		}))
		first, second := answer(server, request(`"`+want+`"`, "")).Result(), answer(server, request(`"`+want+`"`, "")).Result()
		if first.StatusCode != http.StatusSeeOther || second.StatusCode != http.StatusSeeOther {
			t.Errorf("got %d, then %d", first.StatusCode, second.StatusCode)
		}
		if first.Header.Get("Set-Cookie") == "" || first.Header.Get("X-Own") == "" || first.Header.Get("Idempotency-Replayed") != "" {
			t.Errorf("the first response has %v", first.Header)
		}
		var got []string
		for _, name := range []string{"Connection", "Content-Type", "Etag", "Location", "Set-Cookie", "Www-Authenticate", "X-Own"} {
			if second.Header.Get(name) != "" {
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("replayed are %q, want %q", got, want)
		}
	}
}

// Verdicts decide what becomes of a response, which the client gets in any case.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDB(t).Pool(t)
	stripe := func(int) idemhttp.Verdict { return idemhttp.Store }
	for name, c := range map[string]struct {
		config  idemhttp.Config
		unknown lease.Policy
		status  int
		again   string // what the second request gets
		effects int
	}{
		"200":             {status: 200, again: "effect 1", effects: 1},
		"302":             {status: 302, again: "effect 1", effects: 1},
		"402":             {status: 402, again: "effect 2", effects: 2},
		"402, stored":     {config: idemhttp.Config{Verdict: stripe}, status: 402, again: "effect 1", effects: 1},
		"429":             {status: 429, again: "effect 2", effects: 2},
		"429, not stored": {config: idemhttp.Config{Verdict: stripe}, status: 429, again: "effect 2", effects: 2},
		"500":             {status: 500, again: idemhttp.ProblemUndecided, effects: 1},
		"500, rerun":      {unknown: lease.Rerun(), status: 500, again: "effect 2", effects: 2},
		"500, stored":     {config: idemhttp.Config{Verdict: stripe}, status: 500, again: "effect 1", effects: 1},
	} {
		handler := &counter{}
		server := newOnce(t, pool, lease.Config{Backoff: lease.NoBackoff, Unknown: c.unknown}, c.config)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(c.status)
			handler.ServeHTTP(w, r)
		}))
		wants(t, name, answer(server, request(`"`+name+`"`, "")), c.status, "effect 1")
		if a := answer(server, request(`"`+name+`"`, "")); !strings.Contains(a.Body.String(), c.again) || handler.effects != c.effects {
			t.Errorf("%s: again: got %d %s after %d effects, want %s after %d", name, a.Code, a.Body, handler.effects, c.again, c.effects)
		}
	}
}

// A response that is too large to be stored reaches its client, and is known to be lost for others.
func TestLargeResponse(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDB(t).Pool(t)
	const limit = 1000
	for name, c := range map[string]struct{ body, location int }{
		"body":   {body: 3 * limit},
		"header": {location: limit},
	} {
		handler := &counter{}
		server := newOnce(t, pool, lease.Config{MaxResultBytes: limit}, idemhttp.Config{})(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			handler.effects++
			w.Header().Set("Content-Length", "3000")
			w.Header().Set("Location", "/"+strings.Repeat("a", c.location))
			for range c.body / 100 {
				_, _ = w.Write([]byte(strings.Repeat("a", 100)))
			}
		}))
		first := answer(server, request(`"`+name+`"`, ""))
		wants(t, name, first, http.StatusOK, strings.Repeat("a", c.body))
		if first.Body.Len() != c.body {
			t.Errorf("%s: %d bytes of %d", name, first.Body.Len(), c.body)
		}
		wants(t, name+" again", answer(server, request(`"`+name+`"`, "")), http.StatusConflict, idemhttp.ProblemResponseNotStored)
		if handler.effects != 1 {
			t.Errorf("%s: %d effects", name, handler.effects)
		}
	}
}

// The client of a response that was passed on sees that it does not count, if the request is not completed.
func TestLargeResponseThatDoesNotCount(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(newOnce(t, pgtest.NewDB(t).Pool(t), lease.Config{MaxResultBytes: 10}, idemhttp.Config{})(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inTx(t, r, errBoom)
			w.Header().Set("Content-Length", "10000")
			_, _ = w.Write(make([]byte, 10_000))
		})))
	defer server.Close()
	r := request("k", "")
	r.RequestURI = ""
	r.URL.Scheme, r.URL.Host = "http", server.Listener.Addr().String()
	response, err := http.DefaultClient.Do(r)
	if err == nil {
		defer response.Body.Close() //nolint:errcheck // It is read.
		_, err = readAll(response)
	}
	if err == nil {
		t.Error("the client has a whole response")
	}
}

// What a handler answers does not count if the request cannot be completed.
func TestNotCompleted(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDB(t).Pool(t)
	for name, c := range map[string]struct {
		unknown lease.Policy
		status  int
		problem string
	}{
		"decide": {status: http.StatusConflict, problem: idemhttp.ProblemUndecided},
		"rerun":  {unknown: lease.Rerun(), status: http.StatusServiceUnavailable, problem: idemhttp.ProblemOutcomeUnknown},
	} {
		server := newOnce(t, pool, lease.Config{Unknown: c.unknown}, idemhttp.Config{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inTx(t, r, errBoom)
			w.Header().Set("Location", "/payments/1")
			w.WriteHeader(http.StatusCreated)
		}))
		a := answer(server, request(`"`+name+`"`, ""))
		wants(t, name, a, c.status, c.problem)
		if a.Header().Get("Location") != "" {
			t.Error("it has headers of a response that does not count")
		}
	}
}

// Streams cannot be stored. The handler is told.
func TestStreams(t *testing.T) {
	t.Parallel()
	server := newOnce(t, pgtest.NewDB(t).Pool(t), lease.Config{}, idemhttp.Config{})(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		controller := http.NewResponseController(w)
		if err := controller.Flush(); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("flush: %v", err)
		}
		if _, _, err := controller.Hijack(); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("hijack: %v", err)
		}
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusNoContent)
		w.WriteHeader(http.StatusOK)
		if _, err := w.Write([]byte("a")); !errors.Is(err, http.ErrBodyNotAllowed) {
			t.Errorf("write: %v", err)
		}
	}))
	for range 2 {
		wants(t, "no content", answer(server, request("k", "")), http.StatusNoContent, "")
	}
}

// The handler's context outlives the client, but not the deadline that somebody has set.
func TestContext(t *testing.T) {
	t.Parallel()
	deadline := time.Now().Add(time.Hour)
	server := newOnce(t, pgtest.NewDB(t).Pool(t), lease.Config{}, idemhttp.Config{})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if got, limited := r.Context().Deadline(); !limited || !got.Equal(deadline) {
			t.Errorf("deadline %v, %v", got, limited)
		}
		if err := r.Context().Err(); err != nil {
			t.Error(err)
		}
	}))
	ctx, cancel := context.WithDeadline(t.Context(), deadline)
	cancel()
	wants(t, "gone", answer(server, request("k", "").WithContext(ctx)), http.StatusOK, "")
}

// What was completed by other means is replayed as far as it is known.
func TestOtherResults(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDB(t).Pool(t)
	handler := &counter{}
	for name, c := range map[string]struct {
		result lease.Result
		status int
		body   string
	}{
		"body":    {lease.Result{ContentType: "text/plain", Body: []byte("charged")}, http.StatusOK, "charged"},
		"message": {lease.Result{ContentType: "application/http", Body: []byte("HTTP/1.1 201 Created\r\nLocation: /1\r\nSet-Cookie: a=b\r\nContent-Length: 7\r\n\r\ncharged")}, http.StatusCreated, "charged"},
		"nothing": {lease.Result{}, http.StatusConflict, idemhttp.ProblemResponseNotStored},
		"damaged": {lease.Result{ContentType: "application/http", Body: []byte("charged")}, http.StatusConflict, idemhttp.ProblemResponseNotStored},
	} {
		ask := lease.Ask(func(context.Context, *lease.Attempt) (lease.Answer, error) { return lease.TookEffect(c.result), nil })
		server := newOnce(t, pool, lease.Config{Backoff: lease.NoBackoff, Unknown: ask}, idemhttp.Config{})(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
		}))
		wants(t, name, answer(server, request(`"`+name+`"`, "")), http.StatusBadGateway, "")
		for range 2 { // Asked, and stored.
			a := answer(server, request(`"`+name+`"`, ""))
			wants(t, name, a, c.status, c.body)
			if a.Header().Get("Set-Cookie") != "" || a.Code < 300 && a.Header().Get("Idempotency-Replayed") != "true" {
				t.Errorf("%s: headers %v", name, a.Header())
			}
		}
	}
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guard.MarkProcessed(t.Context(), idemhttp.EventID("ada", "marked")); err != nil {
		t.Fatal(err)
	}
	wants(t, "marked", answer(newOnce(t, pool, lease.Config{}, idemhttp.Config{})(handler), request("marked", "")), http.StatusConflict, idemhttp.ProblemResponseNotStored)
	if handler.effects != 0 {
		t.Error("the handler ran")
	}
}
