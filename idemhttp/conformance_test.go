package idemhttp_test

import (
	"net/http"
	"testing"

	"github.com/nova-events/idempotent-consumer/idemhttp"
	"github.com/nova-events/idempotent-consumer/idemhttp/idemhttptest"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/lease"
)

// The middleware passes the suite by which others can test theirs.
func TestConformance(t *testing.T) {
	t.Parallel()
	idemhttptest.Run(t, func(t testing.TB, handler http.Handler) http.Handler {
		t.Helper()

		return newOnce(t, pgtest.NewDB(t).Pool(t), lease.Config{}, idemhttp.Config{})(handler)
	})
}
