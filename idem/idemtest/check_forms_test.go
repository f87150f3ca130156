package idemtest_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idem/idemtest"
)

// forms are the forms of a handler that charges payments. One whose value is "bad" fails.
func forms() map[string]consume.Config {
	return map[string]consume.Config{
		"one by one": {Handle: func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			if string(m.Value) == "bad" {
				return errBad
			}

			return plain(nil)(ctx, tx, string(m.Value))
		}},
		"queue": {HandleQueue: func(_ context.Context, queue *pgx.Batch, m consume.Message) error {
			if string(m.Value) == "bad" {
				return errBad
			}
			queue.Queue(charge, string(m.Value))

			return nil
		}},
		"batch": {HandleBatch: func(ctx context.Context, tx pgx.Tx, batch []consume.Message) error {
			for i, m := range batch {
				if string(m.Value) == "bad" {
					return &idem.EventError{Index: i, Err: errBad}
				}
				if err := plain(nil)(ctx, tx, string(m.Value)); err != nil {
					return err
				}
			}

			return nil
		}},
	}
}

func TestCheckOtherForms(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"queue", "batch"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idemtest.Check(t, func(pool *pgxpool.Pool) idemtest.Subject {
				return idemtest.Records(newService(t, pool).guard, forms()[name], records("p-1", "bad", "p-2")...)
			})
		})
	}
}

// A handler that writes through the pool is found in the forms without a tx of their own too.
func TestCheckFindsPoolInOtherForms(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]func(s *service) consume.Config{
		"queue": func(s *service) consume.Config {
			return consume.Config{HandleQueue: func(ctx context.Context, _ *pgx.Batch, m consume.Message) error {
				_, err := s.pool.Exec(ctx, charge, m.Value)

				return err
			}}
		},
		"batch": func(s *service) consume.Config {
			return consume.Config{HandleBatch: func(ctx context.Context, _ pgx.Tx, batch []consume.Message) error {
				_, err := s.pool.Exec(ctx, charge, batch[0].Value)

				return err
			}}
		},
	} {
		said := run(func(t testing.TB) {
			idemtest.Check(t, func(pool *pgxpool.Pool) idemtest.Subject {
				s := newService(t, pool)

				return idemtest.Records(s.guard, config(s), records("p-1", "p-2")...)
			})
		})
		wantSaid(t, said, []string{"payments/0 at offset 0", "wrote outside its transaction: public.charges: written"})
		t.Log(name, said)
	}
}
