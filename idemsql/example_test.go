package idemsql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idemsql"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/outbox"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const payments = `CREATE TABLE public.payments (id text NOT NULL, cents bigint NOT NULL)`

func ExampleGuard_ProcessIfNew() {
	pool, drop := pgtest.Example(payments)
	defer drop()
	db := stdlib.OpenDBFromPool(pool) // or sql.Open, with the driver of your choice
	defer db.Close()                  //nolint:errcheck // Nothing is pending.
	ctx := context.Background()
	guard, err := idemsql.New(db, idem.Config{Consumer: "payments"})
	if err != nil {
		panic(err)
	}
	for range 2 { // The event comes twice.
		outcome, err := guard.ProcessIfNew(ctx, "payment-1", func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO public.payments VALUES ($1, $2)`, "payment-1", 995)

			return err
		})
		fmt.Println(outcome, err)
	}
	// Output:
	// processed <nil>
	// already processed <nil>
}

func ExampleGuard_ClaimTx() {
	pool, drop := pgtest.Example(payments)
	defer drop()
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close() //nolint:errcheck // Nothing is pending.
	ctx := context.Background()
	guard, err := idemsql.New(db, idem.Config{Consumer: "payments"})
	if err != nil {
		panic(err)
	}

	tx, err := db.BeginTx(context.WithoutCancel(ctx), nil) // in your code, or by your ORM
	if err != nil {
		panic(err)
	}
	defer tx.Rollback() //nolint:errcheck // Of what is not committed.
	claim, err := guard.ClaimTx(ctx, tx, "payment-1")
	if err != nil {
		panic(err)
	}
	if claim.New {
		if _, err := tx.ExecContext(ctx, `INSERT INTO public.payments VALUES ($1, $2)`, "payment-1", 995); err != nil {
			panic(err)
		}
	}
	err = tx.Commit()
	if err != nil { // Perhaps only its answer was lost.
		var outcome idem.Outcome
		if outcome, err = guard.Resolve(ctx, claim); errors.Is(err, idem.ErrNotFound) {
			panic("nothing was committed")
		}
		fmt.Println(outcome)
	}
	fmt.Println(claim.New, err)
	// Output: true <nil>
}

func ExamplePublish() {
	pool, drop := pgtest.Example(payments)
	defer drop()
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close() //nolint:errcheck // Nothing is pending.
	ctx := context.Background()
	guard, err := idemsql.New(db, idem.Config{Consumer: "payments"})
	if err != nil {
		panic(err)
	}
	outcome, err := guard.ProcessIfNew(ctx, "payment-1", func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO public.payments VALUES ($1, $2)`, "payment-1", 995); err != nil {
			return err
		}

		return idemsql.Publish(ctx, tx, outbox.Record{Topic: "paid", Key: []byte("payment-1")}) // An outbox.Relay takes it to Kafka.
	})
	fmt.Println(outcome, err)
	// Output: processed <nil>
}

func ExampleInTx() {
	pool, drop := pgtest.Example(payments)
	defer drop()
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		panic(err)
	}
	outcome, err := guard.ProcessIfNew(context.Background(), "payment-1", func(ctx context.Context, tx pgx.Tx) error {
		return idemsql.InTx(ctx, tx, func(ctx context.Context, tx *sql.Tx) error { // for code that wants a *sql.Tx
			_, err := tx.ExecContext(ctx, `INSERT INTO public.payments VALUES ($1, $2)`, "payment-1", 995)

			return err
		})
	})
	fmt.Println(outcome, err)
	// Output: processed <nil>
}
