// Http-server takes payments by POST with an Idempotency-Key, and has a client send one whose answer is lost.
//
// Promised is:
//
//   - A payment is written once for each key of a client, however often its request comes.
//   - Every request to the card's provider for a payment has the same key. A provider that remembers keys charges once.
//   - A client that repeats its request gets the first response.
//
// Not promised is one request to the provider: the handler runs again after a crash, and after an answer 5xx.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idemhttp"
	"github.com/nova-events/idempotent-consumer/lease"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

const usage = `set DATABASE_URL. For the PostgreSQL of examples/compose.yaml:
  docker compose up --detach --wait
  export DATABASE_URL=postgres://postgres:example@localhost:5432/postgres`

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	databaseURL := os.Getenv("DATABASE_URL")
	if databaseURL == "" {
		return errors.New(usage)
	}
	// The guard's tables. Who should create them, and when: see migrate-at-start.
	if err := migrate.Up(ctx, databaseURL, schema.DefaultName); err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	// The service's own table. A real service has migrations for it.
	if _, err := pool.Exec(ctx, `CREATE TABLE IF NOT EXISTS public.payments (client text, receipt text)`); err != nil {
		return err
	}
	cards := &provider{receipts: map[string]string{}}
	payments, err := newServer(pool, cards)
	if err != nil {
		return err
	}
	var lost sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		payments.ServeHTTP(w, r)
		lost.Do(func() { panic(http.ErrAbortHandler) }) // Cuts the connection, though the payment is made.
	}))
	defer server.Close()

	for _, order := range []string{"order-1", "order-2", "order-1"} {
		if err := pay(ctx, server.URL, order); err != nil {
			return err
		}
	}
	fmt.Println(cards)

	return nil
}

// newServer returns the service: a handler behind the middleware.
func newServer(pool *pgxpool.Pool, cards *provider) (http.Handler, error) {
	guard, err := idem.New(pool, idem.Config{Consumer: "payments-api"})
	if err != nil {
		return nil, err
	}
	// Rerun is right because the provider knows the key: after a crash the next request runs the handler again.
	leases, err := lease.New(guard, lease.Config{Unknown: lease.Rerun()})
	if err != nil {
		return nil, err
	}
	// Behind an authentication that has checked the password.
	once, err := idemhttp.New(leases, idemhttp.Config{Scope: func(r *http.Request) (string, error) { return client(r), nil }})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /payments", once(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		attempt, _ := idemhttp.AttemptFrom(r.Context()) // There is one: a POST needs a key.
		receipt := cards.charge(attempt.Key("charge"))
		attempt.InTx(func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO public.payments VALUES ($1, $2)`, client(r), receipt)

			return err
		})
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, "paid, %s", receipt)
	})))

	return mux, nil
}

func client(r *http.Request) string {
	name, _, _ := r.BasicAuth()

	return name
}

var sender = &http.Client{Transport: &idemhttp.Transport{}, Timeout: 10 * time.Second}

// pay has an order paid. The order's id is the key, so that a process that is started again sends the same one.
func pay(ctx context.Context, url, order string) error {
	request, err := http.NewRequestWithContext(idemhttp.WithKey(ctx, order), http.MethodPost, url+"/payments", strings.NewReader(`{"cents": 1200}`))
	if err != nil {
		return err
	}
	request.SetBasicAuth("ada", "")
	request.Header.Set("Content-Type", "application/json")
	response, err := sender.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("%s: %s: %s", order, response.Status, body)
	}
	fmt.Printf("%s: %s: %s (replayed: %q)\n", order, response.Status, body, response.Header.Get("Idempotency-Replayed"))

	return nil
}

// provider stands for the card's provider, which remembers keys.
type provider struct {
	mu       sync.Mutex
	receipts map[string]string // by key
}

func (p *provider) charge(key string) (receipt string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.receipts[key] == "" {
		p.receipts[key] = fmt.Sprintf("receipt %d", len(p.receipts)+1)
	}

	return p.receipts[key]
}

func (p *provider) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()

	return fmt.Sprintf("the provider made %d charges", len(p.receipts))
}
