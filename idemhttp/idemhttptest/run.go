package idemhttptest

import (
	"net/http"
	"testing"
)

// Server makes a server of a handler, with the middleware that is tested. It is called for each test. The server must
//
//   - require a key for POST, and pass GET;
//   - take the Authorization header, as it is, for the client's tenant;
//   - run a handler again that has answered 429, within a minute.
type Server func(t testing.TB, handler http.Handler) http.Handler

// Run tests a server, with a subtest for each promise. It takes some seconds.
func Run(t *testing.T, server Server) {
	t.Helper()
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, server)
		})
	}
}

var checks = []struct {
	name string
	run  func(t testing.TB, server Server)
}{
	{"a request without a key is refused with 400", missingKey},
	{"a key that is not valid is refused with 400", invalidKeys},
	{"GET needs no key", safeMethod},
	{"a repeated request gets the same response", replay},
	{"a replayed response says so", replayedHeader},
	{"a replayed response sets no cookie", noCookie},
	{"a raw key and a quoted one are one", rawAndQuoted},
	{"a key for another request is refused with 422", otherRequest},
	{"a request in progress is refused with 409 and Retry-After", inProgress},
	{"of 100 requests at once one has an effect", race},
	{"tenants do not share keys", tenants},
	{"the response of a client that has gone is stored", clientGone},
	{"429 is not stored", tooManyRequests},
}
