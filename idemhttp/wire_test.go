package idemhttp_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/idemhttp"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/lease"
)

// eachProtocol tests a handler behind the middleware over real connections.
func eachProtocol(t *testing.T, config idemhttp.Config, handler http.HandlerFunc, test func(t *testing.T, server *httptest.Server)) {
	t.Helper()
	pool := pgtest.NewDB(t).Pool(t)
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			once := newOnce(t, pool, lease.Config{}, config)
			server := httptest.NewUnstartedServer(once(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Proto != name {
					t.Errorf("the protocol is %s", r.Proto)
				}
				handler(w, r)
			})))
			server.EnableHTTP2 = http2
			server.StartTLS()
			defer server.Close()
			test(t, server)
		})
	}
}

// send sends a POST with a body of unknown length and a key, which is the protocol's own.
func send(t *testing.T, server *httptest.Server, change func(r *http.Request)) (header, trailer http.Header, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/payments?a=1", io.MultiReader(strings.NewReader("one "), strings.NewReader("two")))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Authorization": {"ada"}, "Idempotency-Key": {fmt.Sprintf("%q", t.Name())}}
	change(r)
	response, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // It is read.
	if body, err = readAll(response); err != nil {
		t.Fatal(err)
	}

	return response.Header, response.Trailer, body
}

// A request without a length, with trailers and Expect, reaches the handler as one with a length. Trailers of a response
// reach the first client and are not stored.
func TestTrailers(t *testing.T) {
	t.Parallel()
	eachProtocol(t, idemhttp.Config{}, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if string(body) != "one two" || err != nil || r.ContentLength != int64(len(body)) || len(r.TransferEncoding) > 0 || r.Trailer.Get("Checksum") != "1" {
			t.Errorf("%q, %v, length %d, encoding %q, trailer %v", body, err, r.ContentLength, r.TransferEncoding, r.Trailer)
		}
		w.Header().Set("Trailer", "Checksum")
		_, _ = w.Write([]byte("charged"))
		w.Header().Set("Checksum", "2")
		w.Header().Set(http.TrailerPrefix+"Late", "3")
		w.Header().Set("ETag", "too late")
	}, func(t *testing.T, server *httptest.Server) {
		t.Helper()
		for i, want := range []string{"2 3", " "} {
			header, trailer, body := send(t, server, func(r *http.Request) {
				r.Header.Set("Expect", "100-continue")
				r.Trailer = http.Header{"Checksum": {"1"}}
			})
			if got := trailer.Get("Checksum") + " " + trailer.Get("Late"); body != "charged" || got != want || header.Get("ETag") != "" {
				t.Errorf("request %d: got %q with the trailers %q, want %q", i, body, got, want)
			}
		}
	})
}

// A response is replayed without a Content-Type if the handler has kept net/http from finding one, and with all values of a header that it
// has spelled in several ways.
func TestHeadersPastHeaderSet(t *testing.T) {
	t.Parallel()
	eachProtocol(t, idemhttp.Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") == "" {
			w.Header()["Content-Type"] = nil
		}
		w.Header()["Link"], w.Header()["link"], w.Header()["LINK"] = []string{"</2>"}, []string{"</3>", "</4>"}, []string{"</1>"}
		_, _ = io.WriteString(w, "<html>")
	}, func(t *testing.T, server *httptest.Server) {
		t.Helper()
		for accept, want := range map[string][]string{"": nil, "*/*": {"text/html; charset=utf-8"}} {
			for i := range 2 {
				header, _, _ := send(t, server, func(r *http.Request) {
					r.Header.Set("Accept", accept)
					r.Header.Set("Idempotency-Key", fmt.Sprintf("%q", t.Name()+accept))
				})
				if !slices.Equal(header["Content-Type"], want) {
					t.Errorf("answer %d: types %q, want %q", i+1, header["Content-Type"], want)
				}
				if links := []string{"</1>", "</2>", "</3>", "</4>"}; !slices.Equal(slices.Sorted(slices.Values(header["Link"])), links) {
					t.Errorf("answer %d: links %q, want %q", i+1, header["Link"], links)
				}
			}
		}
	})
}

// A response with a header that HTTP does not allow is replayed without it.
func TestHeadersThatAreNone(t *testing.T) {
	t.Parallel()
	server := newOnce(t, pgtest.NewDB(t).Pool(t), lease.Config{}, idemhttp.Config{})(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Disposition", "attachment; filename=\"a\x00b\"")
		w.Header().Set("Location", "/payments/1\r\nSet-Cookie: session=secret")
		w.Header().Set("Content-Language", "\tde\xff")
		w.WriteHeader(http.StatusCreated)
	}))
	answer(server, request("k", ""))
	a := answer(server, request("k", ""))
	wants(t, "replayed", a, http.StatusCreated, "")
	a.Header().Del("Idempotency-Replayed")
	if want := (http.Header{"Location": {"/payments/1  Set-Cookie: session=secret"}, "Content-Language": {"de\xff"}}); !maps.EqualFunc(a.Header(), want, slices.Equal[[]string]) {
		t.Errorf("got %q, want %q", a.Header(), want)
	}
}

// A host can tell requests apart, although it is none of the headers that net/http has.
func TestFingerprintOfTheHost(t *testing.T) {
	t.Parallel()
	handler := &counter{}
	server := newOnce(t, pgtest.NewDB(t).Pool(t), lease.Config{}, idemhttp.Config{FingerprintHeaders: []string{"host"}})(handler)
	wants(t, "first", answer(server, request("k", "")), http.StatusCreated, "effect 1")
	r := request("k", "")
	r.Host = "other.example.com"
	wants(t, "other host", answer(server, r), http.StatusUnprocessableEntity, idemhttp.ProblemKeyReused)
	r = request("k", "")
	r.Header.Set("Content-Type", "text/plain")
	wants(t, "other type", answer(server, r), http.StatusCreated, "effect 1")
}
