// Package charges is a service; charges_test.go tests its handler with package idemtest.
package charges

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// tables are those of the service.
const tables = `
	CREATE TABLE IF NOT EXISTS public.accounts (id text PRIMARY KEY, cents bigint NOT NULL);
	CREATE TABLE IF NOT EXISTS public.charges (id bigserial PRIMARY KEY, account text NOT NULL, cents bigint NOT NULL, at timestamptz NOT NULL DEFAULT now());
	CREATE TABLE IF NOT EXISTS public.mails (id bigserial PRIMARY KEY, account text NOT NULL, body text NOT NULL)`

// service charges accounts.
type service struct{ guard *idem.Guard }

func newService(ctx context.Context, pool *pgxpool.Pool) (*service, error) {
	if _, err := pool.Exec(ctx, tables); err != nil {
		return nil, fmt.Errorf("create the tables: %w", err)
	}
	guard, err := idem.New(pool, idem.Config{Consumer: "charges"})
	if err != nil {
		return nil, err
	}

	return &service{guard: guard}, nil
}

// config is what the consumer does, in production, where kafkaadapter.New gets it, and in the tests.
func (s *service) config() consume.Config {
	return consume.Config{Handle: s.charge}
}

// payment is the value of a record.
type payment struct {
	Account string `json:"account"`
	Cents   int64  `json:"cents"`
}

// charge takes a payment from its account. The mail about it is written down, and sent by somebody else
// once that is committed.
func (s *service) charge(ctx context.Context, tx pgx.Tx, m consume.Message) error {
	var p payment
	if err := json.Unmarshal(m.Value, &p); err != nil {
		return consume.Permanent(fmt.Errorf("decode the payment: %w", err))
	}
	var statements pgx.Batch
	statements.Queue(`UPDATE public.accounts SET cents = cents - $2 WHERE id = $1`, p.Account, p.Cents)
	statements.Queue(`INSERT INTO public.charges (account, cents) VALUES ($1, $2)`, p.Account, p.Cents)
	statements.Queue(`INSERT INTO public.mails (account, body) VALUES ($1, $2)`, p.Account, fmt.Sprintf("You paid %d cents.", p.Cents))

	return tx.SendBatch(ctx, &statements).Close()
}
