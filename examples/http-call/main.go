// Http-call calls another service from a handler, with the event id as the idempotency key of the call.
//
// The call is outside of the transaction. Promised is:
//
//   - What the handler writes through tx takes effect once.
//   - Every call for an event has the same key. A service that remembers keys acts once.
//
// Not promised is:
//
//   - One call. The handler calls again after a lost answer, a crash before the COMMIT, a deadlock, or a
//     failover of PostgreSQL that lost the COMMIT. So a service without keys may act twice.
//   - That the call is undone. If the handler fails for good after the call, the service has acted and
//     nothing is written here. The event has an error then, or a dead letter: look at those.
//
// The other service must remember keys for longer than an event can be tried again: for an outage, for
// the days until somebody replays a dead letter, for a topic that is read again.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
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
	if _, err := pool.Exec(ctx, `CREATE TABLE IF NOT EXISTS public.charges (event_id text, cents bigint)`); err != nil {
		return err
	}
	guard, err := idem.New(pool, idem.Config{Consumer: "charges"})
	if err != nil {
		return err
	}

	payments := &paymentService{charged: map[string]bool{}}
	server := httptest.NewServer(payments)
	defer server.Close()
	for _, eventID := range []string{"order-1", "order-2", "order-1"} {
		// With a Kafka adapter set consume.Config.OwnTransactions for such a handler: records that share a
		// transaction are all called for again when one of them fails. If calls are slow, set Lanes.
		outcome, err := guard.ProcessIfNew(ctx, eventID, func(ctx context.Context, tx pgx.Tx) error {
			const cents = 1200
			if err := charge(ctx, server.URL, eventID, cents); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `INSERT INTO public.charges VALUES ($1, $2)`, eventID, cents)

			return err
		})
		if err != nil {
			return err
		}
		fmt.Println(eventID, outcome)
	}
	fmt.Println(payments)

	return nil
}

// The transaction is open, and a connection of the pool taken, as long as the call lasts. So it has a limit.
var client = &http.Client{Timeout: 5 * time.Second}

// charge asks the payment service for money.
func charge(ctx context.Context, url, eventID string, cents int64) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(fmt.Sprintf(`{"cents": %d}`, cents)))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	// A key is one call for one purpose: another consumer that calls for the same event needs another.
	request.Header.Set("Idempotency-Key", "charges/"+eventID)
	response, err := client.Do(request)
	if err != nil {
		return idem.Transient(err) // Nobody knows whether it has charged. The next attempt has the same key.
	}
	defer func() { _ = response.Body.Close() }()
	switch {
	case response.StatusCode < http.StatusMultipleChoices:
		return nil
	case response.StatusCode == http.StatusConflict, // The former call of this key is still at work.
		response.StatusCode == http.StatusTooManyRequests,
		response.StatusCode >= http.StatusInternalServerError:
		return idem.Transient(fmt.Errorf("the payment service says %s", response.Status))
	default:
		// With a Kafka adapter wrap it in consume.Permanent.
		return fmt.Errorf("the payment service says %s", response.Status)
	}
}

// paymentService stands for the other service. It remembers keys, and loses its first answer.
type paymentService struct {
	mu      sync.Mutex
	calls   int
	charged map[string]bool // by key
}

func (s *paymentService) ServeHTTP(_ http.ResponseWriter, request *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.charged[request.Header.Get("Idempotency-Key")] = true
	if s.calls == 1 {
		panic(http.ErrAbortHandler) // Cuts the connection, though the charge is made.
	}
}

func (s *paymentService) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()

	return fmt.Sprintf("the payment service got %d calls and made %d charges", s.calls, len(s.charged))
}
