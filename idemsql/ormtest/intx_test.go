package ormtest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idem/idemtest"
	"github.com/nova-events/idempotent-consumer/idemsql"
)

// inTx is a bundle whose guard is one with a pool.
type inTx struct {
	*bundle

	pool   *pgxpool.Pool
	pooled *idem.Guard
}

func setupInTx(t *testing.T, b *bundle) *inTx {
	t.Helper()
	pool := b.database.Pool(t)
	guard, err := idem.New(pool, idem.Config{Consumer: "orders"})
	if err != nil {
		t.Fatal(err)
	}

	return &inTx{b, pool, guard}
}

// process is ProcessIfNew with a handler for a *sql.Tx.
func (i *inTx) process(ctx context.Context, eventID string, fn func(ctx context.Context, tx *sql.Tx) error) (idem.Outcome, error) {
	return i.pooled.ProcessIfNew(ctx, eventID, func(ctx context.Context, tx pgx.Tx) error { return idemsql.InTx(ctx, tx, fn) })
}

// eachInTx runs a test with each library, in transactions of pgx.
func eachInTx(t *testing.T, test func(t *testing.T, i *inTx)) {
	t.Helper()
	eachOf(t, []string{"pgx", "GORM", "GORM prepared", "bun", "ent", "sqlx"}, func(t *testing.T, b *bundle) { test(t, setupInTx(t, b)) })
}

func TestInTx(t *testing.T) {
	t.Parallel()
	eachInTx(t, func(t *testing.T, i *inTx) {
		outcome, err := i.process(t.Context(), "a", func(ctx context.Context, tx *sql.Tx) error {
			return errors.Join(i.insert(ctx, tx, "a"), errBoom)
		})
		if outcome != 0 || !errors.Is(err, errBoom) {
			t.Fatalf("got %v, %v", outcome, err)
		}
		i.wantProcessed(t, "a", false)
		for _, wanted := range []idem.Outcome{idem.Processed, idem.AlreadyProcessed} {
			outcome, err = i.process(t.Context(), "a", i.handler("a"))
			want(t, "a", outcome, err, wanted)
		}
		i.wantProcessed(t, "a", true)
	})
}

// The records of a consumer are processed in the transaction of their checkpoint, several in one.
func TestInTxOfAConsumer(t *testing.T) {
	t.Parallel()
	eachInTx(t, func(t *testing.T, i *inTx) {
		failed := false
		records := make([]consume.Record, 20)
		for n := range records {
			records[n] = consume.Record{Topic: "orders", Offset: int64(n)}
		}
		idemtest.Consume(t, i.pooled, consume.Config{
			EventID: consume.TopicPartitionOffset(),
			Handle: func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
				return idemsql.InTx(ctx, tx, func(ctx context.Context, tx *sql.Tx) error {
					if err := i.insert(ctx, tx, m.EventID); err != nil {
						return err
					}
					if m.Offset == 7 && !failed {
						failed = true

						return idem.Transient(errBoom)
					}

					return nil
				})
			},
		}, records...)
		for n := range records {
			i.wantProcessed(t, fmt.Sprintf("orders-0-%d", n), true)
		}
	})
}

func TestInTxIsNotEndedByItsUser(t *testing.T) {
	t.Parallel()
	i := setupInTx(t, setup(t, libraries["pgx"]))
	for name, end := range map[string]func(ctx context.Context, tx *sql.Tx) error{
		"Commit": func(_ context.Context, tx *sql.Tx) error { return tx.Commit() },
		"statement": func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "COMMIT")

			return err
		},
		"query":    func(ctx context.Context, tx *sql.Tx) error { return tx.QueryRowContext(ctx, "ROLLBACK").Err() },
		"prepared": prepared("COMMIT"),
	} {
		outcome, err := i.process(t.Context(), name, func(ctx context.Context, tx *sql.Tx) error {
			return errors.Join(i.insert(ctx, tx, name), end(ctx, tx))
		})
		if outcome != 0 || !errors.Is(err, idem.ErrHandlerTx) {
			t.Errorf("%s: got %v, %v; want ErrHandlerTx", name, outcome, err)
		}
		i.wantProcessed(t, name, false)
	}
	outcome, err := i.process(t.Context(), "rollback", func(ctx context.Context, tx *sql.Tx) error {
		defer tx.Rollback() //nolint:errcheck // A habit.

		return i.insert(ctx, tx, "rollback")
	})
	want(t, "rollback", outcome, err, idem.Processed)
	i.wantProcessed(t, "rollback", true)
}

func prepared(query string) func(ctx context.Context, tx *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error {
		statement, err := tx.PrepareContext(ctx, query)
		if err != nil {
			return err
		}
		defer statement.Close() //nolint:errcheck // There is nothing to close.
		_, err = statement.ExecContext(ctx)

		return err
	}
}

// Nothing that is left behind gets in the way of the guard, or works after the transaction.
func TestInTxLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	i := setupInTx(t, setup(t, libraries["pgx"]))
	var (
		kept      *sql.Tx
		rows      *sql.Rows
		statement *sql.Stmt
	)
	outcome, err := i.process(t.Context(), "a", func(ctx context.Context, tx *sql.Tx) (err error) {
		kept = tx
		if err := i.insert(ctx, tx, "a"); err != nil {
			return err
		}
		if statement, err = tx.PrepareContext(ctx, `SELECT 1`); err != nil { //nolint:sqlclosecheck // That is what it is about.
			return err
		}
		rows, err = tx.QueryContext(ctx, `SELECT g FROM generate_series(1, 100000) g`) //nolint:rowserrcheck,sqlclosecheck // As above.
		rows.Next()

		return err
	})
	want(t, "a", outcome, err, idem.Processed)
	i.wantProcessed(t, "a", true)
	if _, err := kept.ExecContext(t.Context(), `SELECT 1`); !errors.Is(err, sql.ErrTxDone) {
		t.Errorf("the transaction: %v", err)
	}
	if _, err := statement.ExecContext(t.Context()); err == nil {
		t.Error("the statement works")
	}
	if rows.Next() {
		t.Error("there are more rows")
	}
}

func TestInTxPanics(t *testing.T) {
	t.Parallel()
	i := setupInTx(t, setup(t, libraries["pgx"]))
	func() {
		defer func() {
			if got := recover(); got != "boom" {
				t.Errorf("recovered %v", got)
			}
		}()
		_, _ = i.process(t.Context(), "a", func(ctx context.Context, tx *sql.Tx) error {
			_ = i.insert(ctx, tx, "a")
			panic("boom")
		})
	}()
	i.wantProcessed(t, "a", false)
}

// A context that ends in the handler ends its statements, and the guard commits nothing.
func TestInTxContextEnds(t *testing.T) {
	t.Parallel()
	i := setupInTx(t, setup(t, libraries["pgx"]))
	for name, query := range map[string]string{"between": `SELECT 1`, "within": `SELECT pg_sleep(3600)`} {
		ctx, cancel := context.WithCancel(t.Context())
		outcome, err := i.process(ctx, name, func(ctx context.Context, tx *sql.Tx) error {
			if err := i.insert(ctx, tx, name); err != nil {
				return err
			}
			if name == "within" {
				go func() { //nolint:contextcheck // Until then its context must not end.
					_ = i.waitUntil(t.Context(), `EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database())`)
					cancel()
				}()
			}
			_, err := tx.ExecContext(ctx, query)
			cancel()

			return err
		})
		if outcome != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, %v; want context.Canceled", name, outcome, err)
		}
		i.wantProcessed(t, name, false)
	}
}

// A statement that failed and was overlooked is noticed by the guard; within a savepoint it does no harm.
func TestInTxSavepoint(t *testing.T) {
	t.Parallel()
	i := setupInTx(t, setup(t, libraries["GORM"]))
	g, ok := i.library.(gormLibrary)
	if !ok {
		t.Fatal("this is not GORM")
	}
	outcome, err := i.process(t.Context(), "a", func(ctx context.Context, tx *sql.Tx) error {
		within := g.within(ctx, tx)
		nested := within.Transaction(func(tx *gorm.DB) error { return tx.Exec(`SELECT 1 / 0`).Error })
		if nested == nil {
			t.Error("the statement did not fail")
		}

		return within.Create(&effect{EventID: "a"}).Error
	})
	want(t, "a", outcome, err, idem.Processed)
	i.wantProcessed(t, "a", true)

	outcome, err = i.process(t.Context(), "b", func(ctx context.Context, tx *sql.Tx) error {
		_, _ = tx.ExecContext(ctx, `SELECT 1 / 0`)

		return nil
	})
	if outcome != 0 || !errors.As(err, new(*idem.HandlerError)) {
		t.Errorf("got %v, %v; want a HandlerError", outcome, err)
	}
}

// Values are those of package stdlib, whatever the session's settings are.
func TestInTxValues(t *testing.T) {
	t.Parallel()
	b := setup(t, libraries["pgx"])
	const (
		settings = `SELECT set_config('DateStyle', 'German', true), set_config('IntervalStyle', 'sql_standard', true)`
		query    = `SELECT true, 1::smallint, 2::integer, 3::bigint, 4::oid, '5'::xid, 1.5::real, 2.5::double precision, 3.25::numeric, 'text', 'char'::char(6), 'name'::name,
		'\x00ff'::bytea, '{"a":1}'::json, '{"a":1}'::jsonb, '<a/>'::xml, '2026-11-26'::date, '2026-11-26 13:14:15.678'::timestamp, '2026-11-26 13:14:15.678+02'::timestamptz,
		'infinity'::timestamptz, '1 day 2 hours'::interval, 'c0ffee00-1234-4234-8234-123456789abc'::uuid, '127.0.0.1'::inet, ARRAY[1, 2], ARRAY['a', null], '[1,3)'::int4range, NULL, NULL::bytea, $1::bigint, $2::text, $3::timestamptz`
	)
	args := []any{int64(-7), sql.NullString{String: "s", Valid: true}, nil}
	read := func(ctx context.Context, tx *sql.Tx) (values []any, columns []string, err error) {
		if _, err := tx.ExecContext(ctx, settings); err != nil {
			return nil, nil, err
		}
		rows, err := tx.QueryContext(ctx, query, args...)
		if err != nil {
			return nil, nil, err
		}
		defer rows.Close() //nolint:errcheck // rows.Err tells.
		if columns, err = rows.Columns(); err != nil || !rows.Next() {
			return nil, nil, errors.Join(err, rows.Err(), errBoom)
		}
		values = make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}

		return values, columns, errors.Join(rows.Scan(into...), rows.Err())
	}
	tx, err := b.direct.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	wanted, columns, err := read(t.Context(), tx)
	if err := errors.Join(err, tx.Rollback()); err != nil {
		t.Fatal(err)
	}
	i := setupInTx(t, b)
	outcome, err := i.process(t.Context(), "a", func(ctx context.Context, tx *sql.Tx) error {
		got, names, err := read(ctx, tx)
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(names, columns) {
			t.Errorf("columns %q, want %q", names, columns)
		}
		for n := range wanted {
			if !reflect.DeepEqual(got[n], wanted[n]) {
				t.Errorf("column %d: %T %v, want %T %v", n+1, got[n], got[n], wanted[n], wanted[n])
			}
		}

		return nil
	})
	want(t, "a", outcome, err, idem.Processed)
}
