package lease_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/lease"
)

// connect stands for what a service does when it starts: a pool, a guard and its leases.
func connect(config lease.Config) (leases *lease.Leases, done func()) {
	pool, done := pgtest.Example(`CREATE TABLE orders (id text PRIMARY KEY, receipt text NOT NULL)`)
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err == nil {
		leases, err = lease.New(guard, config)
	}
	if err != nil {
		panic(err)
	}

	return leases, done
}

// An effect outside the transaction is one attempt at a time, and remembered with what it returned and what the caller
// wrote.
func ExampleLeases_Do() {
	ctx := context.Background()
	leases, done := connect(lease.Config{Unknown: lease.Rerun()})
	defer done()

	pay := func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
		fmt.Println("charge a card with the key", a.Key("charge")) // A provider recognizes the key, should it come twice.
		a.InTx(func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO orders VALUES ($1, 'receipt 7')`, a.EventID)

			return err
		})

		return lease.Result{ContentType: "text/plain", Body: []byte("receipt 7")}, nil
	}
	for range 2 {
		done, err := leases.Do(ctx, "order-4711", pay)
		fmt.Printf("%v: %s, %v\n", done.Outcome, done.Result.Body, err)
	}
	// Output:
	// charge a card with the key payments/order-4711/charge
	// processed: receipt 7, <nil>
	// already processed: receipt 7, <nil>
}

// While an attempt is running, others are told when to come back.
func ExampleLeases_Do_inProgress() {
	ctx := context.Background()
	leases, done := connect(lease.Config{})
	defer done()

	pay := func(ctx context.Context, _ *lease.Attempt) (lease.Result, error) {
		_, err := leases.Do(ctx, "order-4711", func(context.Context, *lease.Attempt) (lease.Result, error) {
			panic("it does not run twice")
		})
		var busy *lease.InProgressError
		fmt.Println("in progress:", errors.As(err, &busy) && busy.RetryAfter > 0)

		return lease.Result{}, nil
	}
	paid, err := leases.Do(ctx, "order-4711", pay)
	fmt.Println(paid.Outcome, err)
	// Output:
	// in progress: true
	// processed <nil>
}

// An attempt of unknown outcome is not run again until somebody has decided.
func ExampleNeedsDecision() {
	ctx := context.Background()
	leases, done := connect(lease.Config{Unknown: lease.NeedsDecision()}) // the default
	defer done()

	pay := func(context.Context, *lease.Attempt) (lease.Result, error) {
		fmt.Println("charge a card")

		return lease.Result{}, lease.Unknown(errors.New("no answer"))
	}
	for range 2 {
		_, err := leases.Do(ctx, "order-4711", pay)
		var undecided *lease.UndecidedError
		fmt.Println("undecided:", errors.As(err, &undecided))
	}
	// Output:
	// charge a card
	// undecided: true
	// undecided: true
}

// With Rerun the function runs again, and is told that an earlier attempt may have taken effect.
func ExampleRerun() {
	ctx := context.Background()
	leases, done := connect(lease.Config{Unknown: lease.Rerun(), Backoff: lease.NoBackoff})
	defer done()

	pay := func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
		fmt.Printf("attempt %d, %d unknown\n", a.Number, a.Unknown)
		if a.Number == 1 {
			return lease.Result{}, lease.Unknown(errors.New("no answer"))
		}

		return lease.Result{}, nil
	}
	for range 2 {
		done, err := leases.Do(ctx, "order-4711", pay)
		fmt.Println(done.Outcome, lease.IsUnknown(err))
	}
	// Output:
	// attempt 1, 0 unknown
	// none true
	// attempt 2, 1 unknown
	// processed false
}

// Ask looks at the other system, which knows what it has done.
func ExampleAsk() {
	ctx := context.Background()
	charged := map[string]string{} // the other system
	leases, done := connect(lease.Config{Backoff: lease.NoBackoff, Unknown: lease.Ask(func(_ context.Context, a *lease.Attempt) (lease.Answer, error) {
		if receipt, ok := charged[a.EventID]; ok {
			return lease.TookEffect(lease.Result{Body: []byte(receipt)}), nil
		}

		return lease.NoEffect(), nil
	})})
	defer done()

	pay := func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
		charged[a.EventID] = "receipt 7"

		return lease.Result{}, lease.Unknown(errors.New("no answer"))
	}
	for range 2 {
		done, err := leases.Do(ctx, "order-4711", pay)
		fmt.Printf("%v %s %v\n", done.Outcome, done.Result.Body, err == nil)
	}
	// Output:
	// none  false
	// processed receipt 7 true
}

// What is done is not done again: the result of a step is stored as soon as it has happened.
func ExampleAttempt_Step() {
	ctx := context.Background()
	leases, done := connect(lease.Config{Unknown: lease.Rerun(), Backoff: lease.NoBackoff})
	defer done()

	order := func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
		receipt, err := lease.StepJSON(ctx, a, "charge", func(context.Context) (int, error) {
			fmt.Println("charge a card")

			return 7, nil
		})
		if err != nil {
			return lease.Result{}, err
		}

		return a.Step(ctx, "mail", func(context.Context) (lease.Result, error) {
			fmt.Println("mail receipt", receipt)
			if a.Number == 1 {
				return lease.Result{}, errors.New("the mail server is down")
			}

			return lease.Result{}, nil
		})
	}
	for range 2 {
		done, _ := leases.Do(ctx, "order-4711", order)
		fmt.Println(done.Outcome)
	}
	// Output:
	// charge a card
	// mail receipt 7
	// none
	// mail receipt 7
	// processed
}

// DoJSON is for a result of a type of your own.
func ExampleDoJSON() {
	ctx := context.Background()
	leases, done := connect(lease.Config{})
	defer done()

	type receipt struct{ Number int }
	for range 2 {
		r, done, err := lease.DoJSON(ctx, leases, "order-4711", func(context.Context, *lease.Attempt) (receipt, error) {
			return receipt{Number: 7}, nil
		})
		fmt.Println(r.Number, done.Outcome, err)
	}
	// Output:
	// 7 processed <nil>
	// 7 already processed <nil>
}

// The same event with another payload is a mistake.
func ExampleWithFingerprint() {
	ctx := context.Background()
	leases, done := connect(lease.Config{})
	defer done()

	for _, payload := range []string{"10 EUR", "10 EUR", "1000 EUR"} {
		done, err := leases.Do(ctx, "order-4711", func(context.Context, *lease.Attempt) (lease.Result, error) {
			return lease.Result{}, nil
		}, lease.WithFingerprint(idem.FingerprintOf([]byte(payload))))
		fmt.Println(done.Outcome, errors.As(err, new(*idem.CollisionError)))
	}
	// Output:
	// processed false
	// already processed false
	// none true
}
