package idem_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// A handler that drops the session's prepared statements costs the next call that has the connection one retry.
func TestLostPreparedStatements(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			guard := newGuard(t, b.db.Pool(t, pgtest.MaxConns(1), pgtest.ExecMode(mode.QueryExecMode)), idem.Config{Consumer: "orders"})
			for _, id := range []string{"a", "b", "c"} {
				outcome, err := guard.ProcessIfNew(t.Context(), id, func(ctx context.Context, tx pgx.Tx) error {
					_, err := tx.Exec(ctx, "DEALLOCATE ALL")

					return errors.Join(effect(id)(ctx, tx), err)
				})
				want(t, id, outcome, err, idem.Processed)
				b.wantProcessed(t, id, true)
				id += " queued"
				outcome, err = guard.ExecIfNew(t.Context(), id, queued(id))
				want(t, id, outcome, err, idem.Processed)
				b.wantProcessed(t, id, true)
			}
		})
	}
}

// A pooler that does not know prepared statements gives a client sessions that have those of others. The
// error says what to set.
func TestPoolerWithoutPreparedStatements(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool := b.db.Pool(t, pgtest.MaxConns(1))
	others := newGuard(t, pool, idem.Config{Consumer: "orders"})
	if _, err := others.ProcessIfNew(t.Context(), "a", effect("a")); err != nil {
		t.Fatal(err)
	}
	if _, err := others.ExecIfNew(t.Context(), "b", queued("b")); err != nil {
		t.Fatal(err)
	}
	rows, err := pool.Query(t.Context(), "SELECT name FROM pg_prepared_statements")
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(names) < 3 {
		t.Fatal(names, err)
	}

	guard := newGuard(t, b.db.Pool(t, func(config *pgxpool.Config) {
		config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			for _, name := range names {
				if _, err := conn.PgConn().Exec(ctx, "PREPARE "+pgx.Identifier{name}.Sanitize()+" AS SELECT 1").ReadAll(); err != nil {
					return err
				}
			}

			return nil
		}
	}), idem.Config{Consumer: "orders"})
	for name, call := range map[string]func() (idem.Outcome, error){
		"ProcessIfNew": func() (idem.Outcome, error) { return guard.ProcessIfNew(t.Context(), "e", effect("e")) },
		"ExecIfNew":    func() (idem.Outcome, error) { return guard.ExecIfNew(t.Context(), "e", queued("e")) },
	} {
		_, err := call()
		var handler *idem.HandlerError
		if err == nil || !strings.Contains(err.Error(), "default_query_exec_mode=exec") || idem.IsTransient(err) || errors.As(err, &handler) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.wantProcessed(t, "e", false)
}
