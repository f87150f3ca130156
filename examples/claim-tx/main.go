// Claim an event inside a transaction of one's own, for a service that begins and commits its
// transactions itself.
package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/examples/internal/local"
	"github.com/nova-events/idempotent-consumer/idem"
)

func main() { local.Main(run) }

func run(ctx context.Context, pool *pgxpool.Pool) error {
	guard, err := idem.New(pool, idem.Config{Consumer: "deposits"})
	if err != nil {
		return err
	}
	if err := guard.Register(ctx); err != nil { // ClaimTx asks for it.
		return err
	}
	if _, err := pool.Exec(ctx, `CREATE TABLE IF NOT EXISTS public.deposits (account text, cents bigint)`); err != nil {
		return fmt.Errorf("create a table: %w", err)
	}

	for _, eventID := range []string{"deposit-1", "deposit-2", "deposit-1"} {
		outcome, err := deposit(ctx, pool, guard, eventID, "alice", 1_000)
		if err != nil {
			return fmt.Errorf("deposit %s: %w", eventID, err)
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
