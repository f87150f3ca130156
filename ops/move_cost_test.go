package ops_test

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/ops"
)

// steps notes the statements that move or remove a consumer's events.
type steps struct {
	mu  sync.Mutex
	all []pgx.TraceQueryStartData
}

func (s *steps) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Contains(data.SQL, "name: EventMove") || strings.Contains(data.SQL, "name: EventRemove") {
		s.all = append(s.all, data)
	}

	return ctx
}

func (s *steps) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// A step of a rename or a delete costs what its own rows cost, however many others were moved before. The
// statistics know nothing of these: nobody has analyzed the table since.
func TestStepReadsItsOwnRows(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var sent steps
	client := newClient(t, b.db.OwnerPool(t, func(config *pgxpool.Config) { config.ConnConfig.Tracer = &sent }))
	if _, err := client.RenameConsumer(t.Context(), "orders", "bills", ops.ChangeOptions{Watch: 1}); err != nil {
		t.Fatal(err)
	}
	plan, err := client.PlanDelete(t.Context(), "bills")
	if err == nil {
		_, err = client.DeleteConsumer(t.Context(), plan, ops.ChangeOptions{Watch: 1})
	}
	if err != nil {
		t.Fatal(err)
	}
	b.exec(t, `ALTER TABLE idem.processed_events SET (autovacuum_enabled = off)`)
	b.exec(t, `INSERT INTO idem.processed_events (consumer_id, key, claim_id)
		SELECT idem.consumer_id('others'), gen_random_uuid(), gen_random_uuid() FROM generate_series(1, 1000)`)
	b.exec(t, `ANALYZE idem.processed_events`)
	b.exec(t, `INSERT INTO idem.processed_events (consumer_id, key, claim_id)
		SELECT idem.consumer_id(v.name), gen_random_uuid(), gen_random_uuid() FROM generate_series(1, 12000), (VALUES ('orders'), ('bills')) v (name)`)
	if len(sent.all) != 2 {
		t.Fatalf("%d statements", len(sent.all))
	}
	for _, step := range sent.all {
		how := b.planOf(t, step)
		for _, removed := range regexp.MustCompile(`Rows Removed by .*: (\d+)`).FindAllStringSubmatch(how, -1) {
			if n, err := strconv.Atoi(removed[1]); err != nil || n > 5000 {
				t.Fatalf("more rows are read than a step has:\n%s", how)
			}
		}
	}
}

// planOf runs a statement in a transaction that is rolled back, and returns how the server has run it.
func (b *bundle) planOf(t *testing.T, statement pgx.TraceQueryStartData) string {
	t.Helper()
	tx, err := b.owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) //nolint:errcheck // It is only explained.
	rows, err := tx.Query(t.Context(), "EXPLAIN (ANALYZE, COSTS off, TIMING off) "+statement.SQL, statement.Args...)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}

	return strings.Join(plan, "\n")
}
