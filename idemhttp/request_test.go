package idemhttp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idemhttp"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/lease"
)

var errBoom = errors.New("boom")

// What is wrong with a configuration is said before any request.
func TestInvalidConfig(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDB(t).Pool(t)
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		t.Fatal(err)
	}
	leases, err := lease.New(guard, lease.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for want, config := range map[string]idemhttp.Config{
		"Scope is not set":       {},
		"has Set-Cookie":         {Scope: byAuthorization, ReplayHeaders: []string{"set-cookie"}},
		"has Authorization":      {Scope: byAuthorization, ReplayHeaders: []string{"Location", "Authorization"}},
		"has Transfer-Encoding":  {Scope: byAuthorization, ReplayHeaders: []string{"transfer-encoding"}},
		"MaxRequestBytes is neg": {Scope: byAuthorization, MaxRequestBytes: -1},
		"Wait is -1ns":           {Scope: byAuthorization, Wait: -1},
		"Wait is 2562047h":       {Scope: byAuthorization, Wait: math.MaxInt64},
	} {
		if _, err := idemhttp.New(leases, config); !errors.Is(err, idem.ErrInvalidConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := idemhttp.New(nil, idemhttp.Config{Scope: byAuthorization}); !errors.Is(err, idem.ErrInvalidConfig) {
		t.Errorf("without leases: %v", err)
	}
}

// Keys that an HTTP client would not send are refused, too.
func TestHostileKeys(t *testing.T) {
	t.Parallel()
	handler := &counter{}
	server := newOnce(t, pgtest.NewDB(t).Pool(t), lease.Config{}, idemhttp.Config{})(handler)
	for _, key := range []string{"a\x00", "\"a\x00\"", "\x00", "a\nb", "\"a\r\nb\"", "a\x7f", "\"a\x7f\"", "\xff", "\"\xff\"", `"`, `"\`, `"a" ;b`, " ", `" `} {
		wants(t, fmt.Sprintf("%q", key), answer(server, request(key, "")), http.StatusBadRequest, idemhttp.ProblemKeyInvalid)
	}
	if handler.effects != 0 {
		t.Errorf("%d effects", handler.effects)
	}
}

// A request belongs to a tenant, or it is refused. The tenant and the key are not mixed up.
func TestScope(t *testing.T) {
	t.Parallel()
	handler := &counter{}
	var scopeErr error
	server := newOnce(t, pgtest.NewDB(t).Pool(t), lease.Config{}, idemhttp.Config{
		Scope: func(r *http.Request) (string, error) { return r.Header.Get("Authorization"), scopeErr },
	})(handler)
	nobody := request("k", "")
	nobody.Header.Del("Authorization")
	wants(t, "no scope", answer(server, nobody), http.StatusForbidden, idemhttp.ProblemNoScope)
	scopeErr = errBoom
	wants(t, "an error", answer(server, request("k", "")), http.StatusForbidden, idemhttp.ProblemNoScope)
	scopeErr = nil
	if handler.effects != 0 {
		t.Errorf("%d effects", handler.effects)
	}
	for i, tenantAndKey := range [][2]string{{"a", "bc"}, {"ab", "c"}} {
		r := request(tenantAndKey[1], "")
		r.Header.Set("Authorization", tenantAndKey[0])
		if answer(server, r); handler.effects != i+1 {
			t.Errorf("%d effects after %d tenants", handler.effects, i+1)
		}
	}
}

// Of two middlewares around a handler one does the work.
func TestTwice(t *testing.T) {
	t.Parallel()
	once := newOnce(t, pgtest.NewDB(t).Pool(t), lease.Config{}, idemhttp.Config{})
	server := once(once(&counter{}))
	for range 2 {
		wants(t, "twice", answer(server, request("k", "a")), http.StatusCreated, "effect 1 of a, <nil>")
	}
}

// Config.Key decides which requests need a key.
func TestKeyRules(t *testing.T) {
	t.Parallel()
	handler := &counter{}
	server := newOnce(t, pgtest.NewDB(t).Pool(t), lease.Config{}, idemhttp.Config{Key: func(r *http.Request) idemhttp.KeyRule {
		switch r.URL.Path {
		case "/optional":
			return idemhttp.KeyOptional
		case "/ignored":
			return idemhttp.KeyIgnored
		default:
			return idemhttp.KeyRequired
		}
	}})(handler)
	for _, c := range []struct {
		method, path string
		keys         []string
		effects      int // of two requests
	}{
		{http.MethodPost, "/", nil, 0},
		{http.MethodDelete, "/", nil, 0},
		{http.MethodDelete, "/", []string{"k-1"}, 1},
		{http.MethodPost, "/optional", nil, 2},
		{http.MethodPost, "/optional", []string{"k-2"}, 1},
		{http.MethodPost, "/optional", []string{""}, 0},
		{http.MethodPost, "/ignored", []string{"k-3"}, 2},
		{http.MethodGet, "/", []string{"k-4"}, 2},
		{http.MethodHead, "/", nil, 2},
	} {
		handler.effects = 0
		for range 2 {
			r := request("", "")
			r.Method, r.URL.Path, r.Header["Idempotency-Key"] = c.method, c.path, c.keys
			answer(server, r)
		}
		if handler.effects != c.effects {
			t.Errorf("%s %s with the keys %q: %d effects, want %d", c.method, c.path, c.keys, handler.effects, c.effects)
		}
	}
}

// The handler gets the body of the request, and other bodies are told apart by it.
func TestBody(t *testing.T) {
	t.Parallel()
	handler := &counter{}
	server := newOnce(t, pgtest.NewDB(t).Pool(t), lease.Config{}, idemhttp.Config{MaxRequestBytes: 10, FingerprintHeaders: []string{"content-type", "X-Account"}})(handler)
	wants(t, "first", answer(server, request("k", "0123456789")), http.StatusCreated, "effect 1 of 0123456789, <nil>")
	wants(t, "other body", answer(server, request("k", "012345678")), http.StatusUnprocessableEntity, idemhttp.ProblemKeyReused)
	for _, name := range []string{"Content-Type", "X-Account"} {
		r := request("k", "0123456789")
		r.Header.Set(name, "other")
		wants(t, "other "+name, answer(server, r), http.StatusUnprocessableEntity, idemhttp.ProblemKeyReused)
	}
	r := request("k", "0123456789")
	r.Header.Set("User-Agent", "other")
	wants(t, "other header", answer(server, r), http.StatusCreated, "effect 1 of 0123456789")
	wants(t, "too large", answer(server, request("l", "0123456789a")), http.StatusRequestEntityTooLarge, idemhttp.ProblemTooLarge)
	r = request("m", "")
	r.Body = io.NopCloser(iotest.ErrReader(errBoom))
	wants(t, "cut", answer(server, r), http.StatusBadRequest, idemhttp.ProblemUnreadable)
	if handler.effects != 1 {
		t.Errorf("%d effects", handler.effects)
	}
}

// A form that was parsed before the middleware is in no fingerprint, so the request is refused: another form with its key would pass for it.
func TestFormParsedBefore(t *testing.T) {
	t.Parallel()
	handler := &counter{}
	once := newOnce(t, pgtest.NewDB(t).Pool(t), lease.Config{}, idemhttp.Config{})
	parses := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = r.FormValue("csrf")
			next.ServeHTTP(w, r)
		})
	}
	form := func(key, contentType, body string) *http.Request {
		r := request(key, body)
		r.Header.Set("Content-Type", contentType)

		return r
	}
	const urlencoded, multipart = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"
	file := "--b\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n1\r\n--b--\r\n"
	for _, r := range []*http.Request{form("a", urlencoded, "amount=1"), form("b", multipart, file)} {
		wants(t, "before", answer(parses(once(handler)), r), http.StatusInternalServerError, idemhttp.ProblemUnreadable)
	}
	for _, server := range []http.Handler{once(parses(handler)), once(parses(once(handler)))} {
		wants(t, "behind", answer(server, form("c", urlencoded, "amount=1")), http.StatusCreated, "effect 1")
		wants(t, "other form", answer(server, form("c", urlencoded, "amount=2")), http.StatusUnprocessableEntity, idemhttp.ProblemKeyReused)
	}
	wants(t, "no form", answer(parses(once(handler)), form("d", "application/json", "{}")), http.StatusCreated, "effect 2")
	wants(t, "empty form", answer(parses(once(handler)), form("e", urlencoded, "")), http.StatusCreated, "effect 3")
}

// What a router has stripped of a path still tells requests apart.
func TestStrippedPath(t *testing.T) {
	t.Parallel()
	handler := &counter{}
	once := newOnce(t, pgtest.NewDB(t).Pool(t), lease.Config{}, idemhttp.Config{})
	mux := http.NewServeMux()
	for _, version := range []string{"/v1", "/v2"} {
		mux.Handle(version+"/", http.StripPrefix(version, once(handler)))
	}
	for path, want := range map[string]int{"/v1/pay": http.StatusCreated} {
		r := request("k", "")
		r.URL.Path, r.RequestURI = path, path
		wants(t, path, answer(mux, r), want, "effect 1")
	}
	r := request("k", "")
	r.URL.Path, r.RequestURI = "/v2/pay", "/v2/pay"
	wants(t, "the other version", answer(mux, r), http.StatusUnprocessableEntity, idemhttp.ProblemKeyReused)
}

// A request can wait for the one that is in progress.
func TestWait(t *testing.T) {
	t.Parallel()
	handler := &counter{}
	begun, end := make(chan struct{}), make(chan struct{})
	letEnd := sync.OnceFunc(func() { close(end) })
	var waits lease.Config
	waits.Hooks.Acquire.End = func(_ context.Context, _ lease.Op, end lease.AcquireEnd) {
		if errors.As(end.Err, new(*lease.InProgressError)) {
			letEnd()
		}
	}
	server := newOnce(t, pgtest.NewDB(t).Pool(t), waits, idemhttp.Config{Wait: time.Minute})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-end
		handler.ServeHTTP(w, r)
	}))
	first := make(chan string)
	go func() { first <- answer(server, request("k", "a")).Body.String() }()
	<-begun
	second := make(chan string)
	go func() { second <- answer(server, request("k", "a")).Body.String() }()
	if a, b := <-first, <-second; a != b || !strings.HasPrefix(a, "effect 1") {
		t.Errorf("got %q and %q", a, b)
	}
}

// Of a form that a handler has parsed no files are left behind.
func TestFilesOfFormsAreRemoved(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	stored := 0
	files := func() int {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Error(err)
		}

		return len(entries)
	}
	server := httptest.NewServer(newOnce(t, pgtest.NewDB(t).Pool(t), lease.Config{}, idemhttp.Config{})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := r.ParseMultipartForm(1); err != nil {
			t.Error(err)
		}
		stored = files()
	})))
	defer server.Close()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	file, err := form.CreateFormFile("file", "large")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = file.Write(make([]byte, 1000))
	_ = form.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, &body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Content-Type": {form.FormDataContentType()}, "Authorization": {"ada"}, "Idempotency-Key": {"k"}}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	server.Close() // Behind it the request is finished.
	if left := files(); stored != 1 || left != 0 {
		t.Errorf("the form had %d files, %d are left", stored, left)
	}
}
