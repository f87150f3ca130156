package charges

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem/idemtest"
)

// setup makes the service on a database of a test.
func setup(t *testing.T, pool *pgxpool.Pool) *service {
	t.Helper()
	s, err := newService(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `INSERT INTO public.accounts VALUES ('alice', 1000), ('bob', 1000)`); err != nil {
		t.Fatal(err)
	}

	return s
}

// record is a record as producers make it.
func record(id, value string) consume.Record {
	return consume.Record{
		Topic: "payments", Value: []byte(value),
		Headers: []consume.RecordHeader{{Key: consume.DefaultEventIDHeader, Value: []byte(id)}},
	}
}

// All that production may do to the handler.
func TestCharge(t *testing.T) {
	t.Parallel()
	payments := func(pool *pgxpool.Pool) idemtest.Subject {
		s := setup(t, pool)

		return idemtest.Records(s.guard, s.config(),
			record("p-1", `{"account": "alice", "cents": 100}`),
			record("p-2", `not a payment`),
			record("p-3", `{"account": "bob", "cents": 250}`))
	}
	idemtest.Check(t, payments)
	idemtest.CheckAnyOrder(t, payments)
}

// What becomes of each record.
func TestPaymentsAndWhatIsNone(t *testing.T) {
	t.Parallel()
	s := setup(t, idemtest.Pool(t))
	did := idemtest.Consume(t, s.guard, s.config(),
		record("p-1", `{"account": "alice", "cents": 100}`),
		record("p-2", `not a payment`),
		record("p-1", `{"account": "alice", "cents": 100}`))
	if did.Processed != 1 || did.DeadLetters != 1 || did.Duplicates != 1 {
		t.Errorf("%+v", did)
	}
	idemtest.ProcessedOnce(t, s.guard, "p-1", `SELECT count(*) FROM public.charges WHERE account = 'alice'`)
	t.Log(idemtest.DeadLettered(t, s.guard, "p-2").Error)
}

// One event, one fault: the server has committed, and its answer is lost.
func TestCommitWithoutAnswer(t *testing.T) {
	t.Parallel()
	pool := idemtest.Pool(t)
	s := setup(t, pool)
	message := consume.Message{Record: record("p-1", `{"account": "alice", "cents": 100}`)}
	deliver := func(ctx context.Context) error {
		_, err := s.guard.ProcessIfNew(ctx, "p-1", func(ctx context.Context, tx pgx.Tx) error { return s.charge(ctx, tx, message) })

		return err
	}
	idemtest.Crash(t, pool, idemtest.CommitUnanswered, deliver)
	idemtest.Race(t, 5, deliver)
	idemtest.ProcessedOnce(t, s.guard, "p-1", `SELECT count(*) FROM public.charges`)
}
