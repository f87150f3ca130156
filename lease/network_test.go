package lease_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	neturl "net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/lease"
)

// A request without an answer may have arrived, although its function returns the client's error as it is. One that nobody
// can have got is sent again.
func TestRequestsWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	leases := newLeases(t, setup(t).guard, lease.Config{Backoff: lease.NoBackoff})
	provider := http.NewServeMux()
	provider.HandleFunc("POST /slow", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // Else the server does not notice that the client has gone.
		<-r.Context().Done()
	})
	provider.HandleFunc("POST /crash", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	provider.HandleFunc("POST /half", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("half"))
	})
	server, tls := httptest.NewServer(provider), httptest.NewTLSServer(provider)
	t.Cleanup(server.Close)
	t.Cleanup(tls.Close)
	gone := httptest.NewServer(provider)
	gone.Close()
	call := func(url string, proxy ...string) error {
		client := http.Client{Transport: &http.Transport{Proxy: func(*http.Request) (via *neturl.URL, err error) {
			for _, address := range proxy {
				via, err = neturl.Parse(address)
			}

			return via, err
		}}}
		if strings.HasSuffix(url, "/slow") {
			client.Timeout = 100 * time.Millisecond
		}
		response, err := client.Post(url, "text/plain", strings.NewReader("charge")) //nolint:noctx // As handlers do.
		if err != nil {
			return err
		}
		defer response.Body.Close() //nolint:errcheck // It was only read.
		_, err = io.ReadAll(response.Body)

		return cmp.Or(err, errBoom)
	}
	for name, request := range map[string]struct {
		err     func() error
		unknown bool
	}{
		"a timeout":                  {func() error { return call(server.URL + "/slow") }, true},
		"a connection that is lost":  {func() error { return call(server.URL + "/crash") }, true},
		"half an answer":             {func() error { return call(server.URL + "/half") }, true},
		"a refusal":                  {func() error { return call(server.URL + "/none") }, false},
		"nobody listens":             {func() error { return call(gone.URL + "/none") }, false},
		"no HTTP proxy":              {func() error { return call(tls.URL+"/none", gone.URL) }, false},
		"no SOCKS proxy":             {func() error { return call(server.URL+"/none", strings.Replace(gone.URL, "http", "socks5", 1)) }, false},
		"no such host":               {func() error { return call("http://does-not-exist.invalid/") }, false},
		"somebody else's name":       {func() error { return call(tls.URL + "/none") }, false},
		"a deadline of its own":      {func() error { return fmt.Errorf("charge: %w", context.DeadlineExceeded) }, true},
		"a template is missing":      {func() error { return second(os.ReadFile("/does/not/exist")) }, false},
		"no such program":            {exec.CommandContext(t.Context(), "/does/not/exist").Run, false},
		"a wrong URL":                {func() error { return second(http.NewRequest(http.MethodPost, "http://[::1/", nil)) }, false}, //nolint:noctx // As handlers do.
		"a wrong address":            {func() error { return second(net.ResolveTCPAddr("tcp", "1.2.3.4")) }, false},
		"a question before":          {func() error { return lease.Harmless(call(server.URL + "/slow")) }, false},
		"that and another":           {func() error { return errors.Join(lease.Harmless(errBoom), call(server.URL+"/crash")) }, true},
		"harmless, but said unknown": {func() error { return lease.Harmless(lease.Unknown(errBoom)) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := leases.Do(t.Context(), name, func(context.Context, *lease.Attempt) (lease.Result, error) { return lease.Result{}, request.err() })
			if unknown := errors.As(err, new(*lease.UndecidedError)); err == nil || unknown != request.unknown {
				t.Errorf("unknown: %t, %v", unknown, err)
			}
		})
	}
	if lease.Harmless(nil) != nil {
		t.Error("nil is an error")
	}
}
