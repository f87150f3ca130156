package idemhttp_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idemhttp"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/lease"
)

// newMiddleware is what a service does once. Its clients are known by the name that authentication has found out.
func newMiddleware(pool *pgxpool.Pool, config lease.Config) (func(http.Handler) http.Handler, error) {
	guard, err := idem.New(pool, idem.Config{Consumer: "payments-api"})
	if err != nil {
		return nil, err
	}
	leases, err := lease.New(guard, config)
	if err != nil {
		return nil, err
	}

	return idemhttp.New(leases, idemhttp.Config{Scope: func(r *http.Request) (string, error) {
		name, _, _ := r.BasicAuth()

		return name, nil
	}})
}

// post sends a request with the key k-1, and returns the status of the answer and whether it was replayed, or the error.
func post(url, user, body string) string {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url+"/payments", strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	request.SetBasicAuth(user, "")
	request.Header.Set("Idempotency-Key", "k-1")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close() //nolint:errcheck // It was read.
	text, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err.Error()
	case response.StatusCode >= http.StatusBadRequest:
		return response.Status
	case response.Header.Get("Idempotency-Replayed") != "":
		return string(text) + ", replayed"
	default:
		return string(text)
	}
}

// A request that is repeated gets the first response. Another client can have the same key, another request cannot.
func ExampleNew() {
	pool, done := pgtest.Example("")
	defer done()
	once, err := newMiddleware(pool, lease.Config{})
	if err != nil {
		fmt.Println(err)

		return
	}
	payments := 0
	server := httptest.NewServer(once(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		payments++
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, "payment %d", payments)
	})))
	defer server.Close()

	fmt.Println("ada, 10 EUR:", post(server.URL, "ada", "10 EUR"))
	fmt.Println("ada, 10 EUR:", post(server.URL, "ada", "10 EUR"))
	fmt.Println("bob, 10 EUR:", post(server.URL, "bob", "10 EUR"))
	fmt.Println("ada, 99 EUR:", post(server.URL, "ada", "99 EUR"))
	// Output:
	// ada, 10 EUR: payment 1
	// ada, 10 EUR: payment 1, replayed
	// bob, 10 EUR: payment 2
	// ada, 99 EUR: 422 Unprocessable Entity
}

// The handler charges a card in a step, with a key by which the provider recognizes a repetition, and writes its own row
// in the transaction that completes the request.
func ExampleAttemptFrom() {
	pool, done := pgtest.Example(`CREATE TABLE payments (charge text)`)
	defer done()
	once, err := newMiddleware(pool, lease.Config{Unknown: lease.Rerun()})
	if err != nil {
		fmt.Println(err)

		return
	}
	server := httptest.NewServer(once(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		attempt, _ := idemhttp.AttemptFrom(r.Context())
		charged, err := lease.StepJSON(r.Context(), attempt, "charge", func(context.Context) (string, error) {
			return "charge-1", nil // Here the provider is called, with attempt.Key("charge").
		})
		if err != nil {
			http.Error(w, "the provider does not answer", http.StatusBadGateway)

			return
		}
		attempt.InTx(func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO payments VALUES ($1)`, charged)

			return err
		})
		_, _ = fmt.Fprint(w, "paid")
	})))
	defer server.Close()

	fmt.Println("ada, 10 EUR:", post(server.URL, "ada", "10 EUR"))
	fmt.Println("ada, 10 EUR:", post(server.URL, "ada", "10 EUR"))
	var rows int
	if err := pool.QueryRow(context.Background(), `SELECT count(*) FROM payments WHERE charge = 'charge-1'`).Scan(&rows); err != nil {
		fmt.Println(err)
	}
	fmt.Println("rows:", rows)
	// Output:
	// ada, 10 EUR: paid
	// ada, 10 EUR: paid, replayed
	// rows: 1
}

// A client whose connection is lost sends its request again, with the same key.
func ExampleTransport() {
	keys := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		keys[r.Header.Get("Idempotency-Key")]++
		if len(keys) == 1 && keys[r.Header.Get("Idempotency-Key")] == 1 {
			panic(http.ErrAbortHandler) // Cuts the connection.
		}
	}))
	defer server.Close()

	client := &http.Client{Transport: &idemhttp.Transport{}}
	ctx := idemhttp.WithKey(context.Background(), "order-4711") // Stored with the order, it is the same after a crash. Without it each request gets a new key.
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, strings.NewReader("10 EUR"))
	if err != nil {
		fmt.Println(err)

		return
	}
	response, err := client.Do(request)
	if err != nil {
		fmt.Println(err)

		return
	}
	defer response.Body.Close() //nolint:errcheck // It is empty.
	fmt.Println(response.StatusCode, keys)
	// Output: 200 map["order-4711":2]
}
