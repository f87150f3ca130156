package idemhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/idemhttp"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/lease"
)

// peer is a server that answers as it is told, in order, and remembers the keys.
type peer struct {
	*httptest.Server

	keys, bodies []string
}

// newPeer makes a server. An answer is a status, or 0 to lose the connection.
func newPeer(t *testing.T, answers ...int) *peer {
	t.Helper()
	p := &peer{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n := len(p.keys)
		p.keys, p.bodies = append(p.keys, strings.Join(r.Header.Values("Idempotency-Key"), "|")), append(p.bodies, string(body))
		switch status := answers[n]; status {
		case 0:
			panic(http.ErrAbortHandler)
		case http.StatusConflict:
			w.Header().Set("Retry-After", "0")

			fallthrough
		default:
			w.WriteHeader(status)
		}
	}))
	p.Config.ErrorLog = nil
	t.Cleanup(p.Close)

	return p
}

func (p *peer) send(ctx context.Context, t *testing.T, transport *idemhttp.Transport, method string, change func(*http.Request)) (int, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, p.URL, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	change(r)
	before := r.Header.Clone()
	response, err := (&http.Client{Transport: transport}).Do(r)
	if fmt.Sprint(before) != fmt.Sprint(r.Header) {
		t.Error("it has changed the caller's request")
	}
	if err != nil {
		return 0, err
	}

	return response.StatusCode, response.Body.Close()
}

func asItIs(*http.Request) {}

// Requests have a key, the same one whenever they are sent again, with the whole body.
func TestTransport(t *testing.T) {
	t.Parallel()
	once := func(r *http.Request) { r.GetBody = nil }
	for name, c := range map[string]struct {
		answers []int
		method  string
		key     string // in the context
		change  func(*http.Request)
		sent    int
		status  int // 0: an error
	}{
		"once":                {answers: []int{201}, sent: 1, status: 201},
		"lost":                {answers: []int{0, 0, 0, 201}, sent: 4, status: 201},
		"lost for good":       {answers: []int{0, 0, 0, 0, 201}, sent: 4},
		"in progress":         {answers: []int{409, 409, 201}, sent: 3, status: 201},
		"both":                {answers: []int{409, 0, 409, 0, 409, 0, 201}, sent: 7, status: 201},
		"lost, body is gone":  {answers: []int{0, 201}, change: once, sent: 1},
		"progress, body gone": {answers: []int{409, 201}, change: once, sent: 1, status: 409},
		"refused":             {answers: []int{422, 201}, sent: 1, status: 422},
		"server error":        {answers: []int{503, 201}, sent: 1, status: 503},
		"key of the context":  {answers: []int{0, 201}, key: `a "b"`, sent: 2, status: 201},
		"key of the request":  {answers: []int{0, 201}, change: func(r *http.Request) { r.Header.Set("Idempotency-Key", "own") }, sent: 2, status: 201},
		"PATCH":               {answers: []int{0, 201}, method: http.MethodPatch, sent: 2, status: 201},
		"PUT":                 {answers: []int{201}, method: http.MethodPut, sent: 1, status: 201},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, c.answers...)
			ctx := t.Context()
			if c.key != "" {
				ctx = idemhttp.WithKey(ctx, c.key)
			}
			method, change := c.method, c.change
			if method == "" {
				method = http.MethodPost
			}
			if change == nil {
				change = asItIs
			}
			base := &http.Transport{DisableKeepAlives: true} // It sends requests with a key again by itself, on connections that it has kept.
			status, err := p.send(ctx, t, &idemhttp.Transport{Base: base}, method, change)
			p.Close() // It has noted all.
			if status != c.status || (err != nil) != (c.status == 0) || len(p.keys) != c.sent {
				t.Errorf("got %d, %v after %d requests", status, err, len(p.keys))
			}
			if slices.ContainsFunc(p.keys, func(key string) bool { return key != p.keys[0] }) || slices.ContainsFunc(p.bodies, func(body string) bool { return body != "body" }) {
				t.Errorf("keys %q, bodies %q", p.keys, p.bodies)
			}
			switch key := p.keys[0]; {
			case name == "key of the context" && key != `"a \"b\""`, name == "key of the request" && key != "own", name == "PUT" && key != "", name == "once" && len(key) != len(`"0199c2a4-0000-7000-8000-000000000001"`):
				t.Errorf("the key is %s", key)
			}
		})
	}
}

// A request of a key that cannot be sent is not sent without it.
func TestTransportInvalidKey(t *testing.T) {
	t.Parallel()
	p := newPeer(t, 201)
	for _, key := range []string{"", "a\x00", "ä", strings.Repeat("a", 256)} {
		if status, err := p.send(idemhttp.WithKey(t.Context(), key), t, &idemhttp.Transport{}, http.MethodPost, asItIs); err == nil {
			t.Errorf("%q: got %d", key, status)
		}
	}
	if len(p.keys) != 0 {
		t.Errorf("sent %q", p.keys)
	}
}

// A request that is made by hand, without headers, is refused as http.Transport refuses it.
func TestTransportWithoutHeaders(t *testing.T) {
	t.Parallel()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1:1/", strings.NewReader("{}"))
	request.Header = nil
	response, err := (&idemhttp.Transport{}).RoundTrip(request) //nolint:bodyclose // There is none.
	if err == nil || !strings.Contains(err.Error(), "nil Request.Header") {
		t.Errorf("%v, %v", response, err)
	}
}

// The end of the context ends the wait; a wait beyond its deadline does not begin.
func TestTransportContext(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 1)
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.Header().Set("Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusConflict)
		asked <- struct{}{}
	}))
	t.Cleanup(server.Close)
	p := &peer{Server: server}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if status, err := p.send(ctx, t, &idemhttp.Transport{}, http.MethodPost, asItIs); status != http.StatusConflict || err != nil {
		t.Errorf("with a deadline: got %d, %v", status, err)
	}
	<-asked
	ctx, cancel = context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	if status, err := p.send(ctx, t, &idemhttp.Transport{}, http.MethodPost, asItIs); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %d, %v", status, err)
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// A client whose connection is lost in the middle gets the response of the one effect.
func TestTransportWithMiddleware(t *testing.T) {
	t.Parallel()
	handler := &counter{}
	var server *httptest.Server
	server = httptest.NewServer(newOnce(t, pgtest.NewDB(t).Pool(t), lease.Config{}, idemhttp.Config{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		server.CloseClientConnections()
		handler.ServeHTTP(w, r)
	})))
	t.Cleanup(server.Close)
	r := request("k", "100 cents")
	r.Header.Del("Idempotency-Key")
	sent, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader("100 cents"))
	if err != nil {
		t.Fatal(err)
	}
	sent.Header = r.Header
	response, err := (&http.Client{Transport: &idemhttp.Transport{}}).Do(sent)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // It is read.
	if body, err := readAll(response); body != "effect 1 of 100 cents, <nil>" || err != nil || handler.effects != 1 {
		t.Errorf("got %q, %v after %d effects", body, err, handler.effects)
	}
}
