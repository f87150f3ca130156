package idemtest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idem/idemtest"
)

// claimTx charges in a transaction of the service's own. careless does so though the claim is not new.
func claimTx(ctx context.Context, s *service, payment string, careless bool) error {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // After Commit it does nothing.
	claim, err := s.guard.ClaimTx(ctx, tx, payment)
	if err != nil || !claim.New && !careless {
		return err
	}
	if err := plain(s)(ctx, tx, payment); err != nil {
		return err
	}

	return tx.Commit(ctx)
}

func TestCheckCalls(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		deliver func(ctx context.Context, s *service, payment string) error
		want    []string
	}{
		"ClaimTx": {func(ctx context.Context, s *service, payment string) error { return claimTx(ctx, s, payment, false) }, nil},
		"ClaimTx, its answer overlooked": {
			func(ctx context.Context, s *service, payment string) error { return claimTx(ctx, s, payment, true) },
			[]string{"delivered again: not what an undisturbed delivery does", "public.charges: too many"},
		},
		"ExecIfNew": {func(ctx context.Context, s *service, payment string) error {
			_, err := s.guard.ExecIfNew(ctx, payment, func(b *pgx.Batch) error {
				b.Queue(charge, payment)

				return nil
			})

			return err
		}, nil},
		"ProcessBatch, through the pool": {func(ctx context.Context, s *service, payment string) error {
			results, err := s.guard.ProcessBatch(ctx, []idem.Event{{ID: payment}}, func(ctx context.Context, _ pgx.Tx, _ []idem.Event) error {
				_, err := s.pool.Exec(ctx, charge, payment)

				return err
			})
			for _, r := range results {
				err = errors.Join(err, r.Err)
			}

			return err
		}, []string{"crash after the handler of transaction 1, then delivered again", "public.charges: too many"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said := run(func(t testing.TB) {
				idemtest.Check(t, func(pool *pgxpool.Pool) idemtest.Subject {
					s := newService(t, pool)
					call := func(payment string) func(ctx context.Context) error {
						return func(ctx context.Context) error { return test.deliver(ctx, s, payment) }
					}

					return idemtest.Calls(s.guard, call("p-1"), call("p-2"))
				})
			})
			wantSaid(t, said, test.want)
		})
	}
}
