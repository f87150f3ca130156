package idemhttptest

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// printer is a test that notes what it fails with.
type printer struct {
	testing.TB

	mu       sync.Mutex
	said     []string
	cleanups []func()
}

func (*printer) Helper()                  {}
func (*printer) Context() context.Context { return context.Background() }
func (p *printer) Cleanup(f func())       { p.cleanups = append(p.cleanups, f) }
func (p *printer) Error(args ...any)      { p.Errorf("%s", fmt.Sprint(args...)) }
func (p *printer) Errorf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = append(p.said, fmt.Sprintf(format, args...))
}

func (p *printer) Fatalf(format string, args ...any) {
	p.Errorf(format, args...)
	runtime.Goexit()
}

// said returns what a check says of a server.
func said(check func(testing.TB, Server), server Server) string {
	p := &printer{}
	var running sync.WaitGroup
	running.Go(func() { check(p, server) })
	running.Wait()
	for i := range p.cleanups {
		p.cleanups[len(p.cleanups)-1-i]()
	}

	return strings.Join(p.said, "\n")
}

// Each check fails with a server that does not keep its promise.
func TestChecksFail(t *testing.T) {
	t.Parallel()
	// naive knows no keys. It is right only in what needs none.
	naive := func(_ testing.TB, handler http.Handler) http.Handler { return handler }
	// refusing refuses everything.
	refusing := func(testing.TB, http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) })
	}
	// forever stores the first response, for everybody, with all its headers.
	forever := func(_ testing.TB, handler http.Handler) http.Handler {
		var mu sync.Mutex
		var first *recorder

		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			if first == nil {
				first = &recorder{header: http.Header{}, status: http.StatusOK}
				handler.ServeHTTP(first, r)
			}
			maps.Copy(w.Header(), first.header)
			w.WriteHeader(first.status)
			_, _ = w.Write(first.body)
		})
	}
	wrong := map[string]struct {
		server Server
		says   string
	}{
		"a request without a key is refused with 400":               {naive, "without a key: got 201"},
		"a key that is not valid is refused with 400":               {naive, `with the key "a";b=1: got 201`},
		"GET needs no key":                                          {refusing, "GET: got 400"},
		"a repeated request gets the same response":                 {naive, "2 effects, want 1"},
		"a replayed response says so":                               {forever, `got "", then ""`},
		"a replayed response sets no cookie":                        {forever, `sets the cookie "session=secret"`},
		"a raw key and a quoted one are one":                        {naive, "2 effects, want 1"},
		"a key for another request is refused with 422":             {forever, "another body: got 201"},
		"a request in progress is refused with 409 and Retry-After": {naive, "3 effects, want 1"},
		"of 100 requests at once one has an effect":                 {naive, "101 effects, want 1"},
		"tenants do not share keys":                                 {forever, `bob got 200 "the secret of ada"`},
		"the response of a client that has gone is stored":          {naive, `got 201 "effect 2 of`},
		"429 is not stored":                                         {forever, "afterwards: got 429"},
	}
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := said(c.run, wrong[c.name].server); !strings.Contains(got, wrong[c.name].says) || wrong[c.name].says == "" {
				t.Errorf("it says:\n%s\nwant %q", got, wrong[c.name].says)
			}
		})
	}
}

// recorder keeps a response.
type recorder struct {
	header http.Header
	status int
	body   []byte
}

func (r *recorder) Header() http.Header    { return r.header }
func (r *recorder) WriteHeader(status int) { r.status = status }
func (r *recorder) Write(p []byte) (int, error) {
	r.body = append(r.body, p...)

	return len(p), nil
}
