// Claim-tx claims an event inside a transaction of one's own, for a service that begins and commits its
// transactions itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

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
	if _, err := pool.Exec(ctx, `CREATE TABLE IF NOT EXISTS public.deposits (account text, cents bigint)`); err != nil {
		return err
	}
	guard, err := idem.New(pool, idem.Config{Consumer: "deposits"})
	if err != nil {
		return err
	}
	if err := guard.Register(ctx); err != nil { // Saves ClaimTx a look.
		return err
	}

	for _, eventID := range []string{"deposit-1", "deposit-2", "deposit-1"} {
		outcome, err := deposit(ctx, pool, guard, eventID, "alice", 1_000)
		if err != nil {
			return fmt.Errorf("%s: %w", eventID, err)
		}
		fmt.Println(eventID, outcome)
	}

	return nil
}

// deposit credits an account, once for each event.
func deposit(ctx context.Context, pool *pgxpool.Pool, guard *idem.Guard, eventID, account string, cents int64) (idem.Outcome, error) {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // After Commit it does nothing.

	// The claim comes first. If another transaction has claimed the event, this waits for its end.
	claim, err := guard.ClaimTx(ctx, tx, eventID)
	if err != nil {
		return 0, err
	}
	if !claim.New {
		return idem.AlreadyProcessed, nil
	}
	if _, err := tx.Exec(ctx, `INSERT INTO public.deposits VALUES ($1, $2)`, account, cents); err != nil {
		return 0, fmt.Errorf("write the deposit: %w", err)
	}
	commitErr := tx.Commit(ctx)
	if commitErr == nil {
		return idem.Processed, nil
	}

	// Was COMMIT refused, or did only its answer get lost? The claim knows.
	outcome, err := guard.Resolve(ctx, claim)
	if errors.Is(err, idem.ErrNotFound) {
		return 0, fmt.Errorf("commit: %w", commitErr) // Nothing has happened: the event may be tried again.
	}

	return outcome, err
}
