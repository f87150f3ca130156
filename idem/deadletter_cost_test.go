package idem_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// statements notes what a pool sends.
type statements struct {
	mu  sync.Mutex
	all []pgx.TraceQueryStartData
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, data)

	return ctx
}

// of returns those that were made of a query.
func (s *statements) of(query string) (all []pgx.TraceQueryStartData) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sent := range s.all {
		if strings.Contains(sent.SQL, query) {
			all = append(all, sent)
		}
	}

	return all
}

func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// blocks runs a statement again, in a transaction that is rolled back, and returns how many blocks it
// touches.
func (b *bundle) blocks(t *testing.T, statement pgx.TraceQueryStartData) int {
	t.Helper()
	tx, err := b.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) //nolint:errcheck // It is only explained.
	var document []byte
	err = tx.QueryRow(t.Context(), "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "+statement.SQL, statement.Args...).Scan(&document)
	if err != nil {
		t.Fatal(err)
	}
	var plans []struct {
		Plan struct {
			Hit  int `json:"Shared Hit Blocks"`  //nolint:tagliatelle // PostgreSQL's name.
			Read int `json:"Shared Read Blocks"` //nolint:tagliatelle // PostgreSQL's name.
		}
	}
	if err := json.Unmarshal(document, &plans); err != nil { //nolint:musttag // Plan is PostgreSQL's name.
		t.Fatal(err)
	}

	return plans[0].Plan.Hit + plans[0].Plan.Read
}

// An owner looks for what is to be replayed every few seconds: that must not read what is open or
// parked.
func TestPollingDoesNotReadWhatWaits(t *testing.T) {
	t.Parallel()
	for name, letters := range map[string]string{
		"all open":              `SELECT n, 'open', n FROM generate_series(2, $1::integer) n`,
		"all parked behind one": `SELECT n, 'parked', 1 FROM generate_series(2, $1::integer) n`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			var sent statements
			guard := newGuard(t, b.db.Pool(t, pgtest.PoolOption(func(config *pgxpool.Config) { config.ConnConfig.Tracer = &sent })), idem.Config{Consumer: "orders"})
			outcome, err := guard.Unfenced(partition).StoreDeadLetter(t.Context(), idem.DeadLetter{Partition: partition, Key: []byte("k"), EventID: "e", Error: "refused"})
			want(t, "store", outcome, err, idem.Processed)
			cost := func(n int) int {
				b.exec(t, `DELETE FROM idem.dead_letters WHERE record_offset > 0`)
				b.exec(t, `INSERT INTO idem.dead_letters (id, key, topic_id, record_offset, state, key_hash, claim_id, consumer_id, record_partition, attempts, topic, error, header_keys, header_values)
					SELECT gen_random_uuid(), d.key, d.topic_id, w.n, w.state, CASE w.hash WHEN 1 THEN d.key_hash ELSE w.hash END, d.claim_id, d.consumer_id, d.record_partition, d.attempts, d.topic, d.error, '{}', '{}'
					FROM idem.dead_letters d, (`+letters+`) w (n, state, hash)`, n)
				b.exec(t, `VACUUM ANALYZE idem.dead_letters`)
				if l, err := guard.Unfenced(partition).NextDeadLetter(t.Context()); !errors.Is(err, idem.ErrNotFound) {
					t.Fatalf("%+v, %v", l, err)
				}
				last := sent.all[len(sent.all)-1]
				if !strings.Contains(last.SQL, "DeadLetterNext") {
					t.Fatal(last.SQL)
				}

				return b.blocks(t, last)
			}
			few, many := cost(10), cost(20_000)
			t.Logf("%d blocks with 10, %d with 20,000", few, many)
			if many > few+20 { // PostgreSQL 18 looks ten times into the small index where others look once.
				t.Errorf("polling reads %d blocks with 20,000 that wait and %d with 10", many, few)
			}
		})
	}
}
