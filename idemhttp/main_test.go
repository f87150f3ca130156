package idemhttp_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idemhttp"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/lease"
)

// TestMain is also the main function of the servers, which run this program again.
func TestMain(m *testing.M) {
	if os.Getenv(envServer) != "" {
		os.Exit(serve(os.Stdin, os.Stdout))
	}
	pgtest.Main(m)
}

// byAuthorization takes the Authorization header for the tenant.
func byAuthorization(r *http.Request) (string, error) { return r.Header.Get("Authorization"), nil }

// newOnce returns a middleware whose leases use a pool.
func newOnce(t testing.TB, pool *pgxpool.Pool, leasing lease.Config, config idemhttp.Config) func(http.Handler) http.Handler {
	t.Helper()
	leasing.Logger = slog.New(slog.DiscardHandler)
	guard, err := idem.New(pool, idem.Config{Consumer: "payments", Logger: leasing.Logger})
	if err != nil {
		t.Fatal(err)
	}
	leases, err := lease.New(guard, leasing)
	if err != nil {
		t.Fatal(err)
	}
	config.Logger = leasing.Logger
	if config.Scope == nil {
		config.Scope = byAuthorization
	}
	once, err := idemhttp.New(leases, config)
	if err != nil {
		t.Fatal(err)
	}

	return once
}

// request is a POST of a tenant.
func request(key, body string) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/payments", strings.NewReader(body))
	r.Header.Set("Authorization", "ada")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", key)

	return r
}

// answer has a handler answer a request.
func answer(handler http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)

	return w
}

// wants checks an answer of the handler, or that of a problem, by its type.
func wants(t testing.TB, what string, got *httptest.ResponseRecorder, status int, text string) {
	t.Helper()
	if got.Code != status || !strings.Contains(got.Body.String(), text) {
		t.Errorf("%s: got %d %q, want %d with %q", what, got.Code, got.Body, status, text)
	}
}

// counter is a handler that counts its effects.
type counter struct{ effects int }

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.effects++
	body, err := io.ReadAll(r.Body)
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, "effect %d of %s, %v", c.effects, body, err)
}

// expire ends the lease of a key, as if the process that had it had crashed long ago.
func expire(t testing.TB, pool *pgxpool.Pool, key string) {
	t.Helper()
	const sql = `UPDATE idem.leases SET until = clock_timestamp() - interval '1 s' WHERE key = idem.event_key($1)`
	if _, err := pool.Exec(t.Context(), sql, idemhttp.EventID("ada", key)); err != nil {
		t.Error(err)
	}
}

// inTx has something written in the transaction that completes the request.
func inTx(t testing.TB, r *http.Request, err error) {
	t.Helper()
	attempt, ok := idemhttp.AttemptFrom(r.Context())
	if !ok {
		t.Error("the handler has no attempt")

		return
	}
	attempt.InTx(func(ctx context.Context, tx pgx.Tx) error {
		if err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO public.payments VALUES ($1)`, attempt.EventID)

		return err
	})
}

func readAll(response *http.Response) (string, error) {
	body, err := io.ReadAll(response.Body)

	return string(body), err
}
