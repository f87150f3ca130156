package examples_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

func checkClaimTx(t *testing.T, e example) {
	t.Helper()
	db := pgtest.NewEmptyDB(t)
	pool := db.Pool(t)
	e.run(t, "DATABASE_URL="+db.DSN)
	deposited := func() int { return query[int](t, pool, `SELECT sum(cents)::integer FROM public.deposits`)[0] }
	if got := deposited(); got != 2_000 {
		t.Errorf("deposited %d, want two deposits of 1,000", got)
	}

	// Once more for one of the events, whose COMMIT gets no answer.
	guard := guard(t, pool, "deposits")
	proxy := pgtest.NewProxy(t, db)
	for _, test := range []struct {
		mode pgtest.CutMode
		want int
	}{{pgtest.DropBeforeCommit, 2_000}, {pgtest.DropAfterCommit, 3_000}} {
		if _, err := guard.Forget(t.Context(), "deposit-2"); err != nil {
			t.Fatal(err)
		}
		written := false
		done := proxy.CutNextStatement(test.mode, func(sql string) bool {
			written = written || strings.Contains(sql, "INSERT INTO public.deposits")

			return written && pgtest.IsCommit(sql)
		})
		output, err := e.command(t.Context(), "DATABASE_URL="+via(t, db.DSN, proxy.Addr().String())).CombinedOutput()
		<-done
		if lost := test.mode == pgtest.DropBeforeCommit; lost != (err != nil) {
			t.Errorf("the COMMIT did not land is %v: %v\n%s", lost, err, output)
		}
		if got := deposited(); got != test.want {
			t.Errorf("deposited %d, want %d\n%s", got, test.want, output)
		}
	}
}

// via is a URL of the same database by another way.
func via(t *testing.T, dsn, address string) string {
	t.Helper()
	parsed, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Host, parsed.RawQuery = address, "sslmode=disable"

	return parsed.String()
}

func checkTenConsumers(t *testing.T, e example) {
	t.Helper()
	db := pgtest.NewEmptyDB(t)
	output := e.run(t, "DATABASE_URL="+db.DSN)
	if want := "10 consumers got 100 events each; 100 events ran, 100 times in all"; !strings.Contains(output, want) {
		t.Errorf("it does not say %q:\n%s", want, output)
	}
	if runs := query[string](t, db.Pool(t), `SELECT DISTINCT event_id FROM public.runs`); len(runs) != 100 {
		t.Errorf("%d events ran", len(runs))
	}
}

func checkFromMap(t *testing.T, e example) {
	t.Helper()
	db := pgtest.NewEmptyDB(t)
	if output := e.run(t, "DATABASE_URL="+db.DSN); strings.Contains(output, "handling order-3") || strings.Count(output, "handling order-4") != 1 {
		t.Errorf("want order-4 to be handled once, and nothing that the map knows:\n%s", output)
	}
	guard := guard(t, db.Pool(t), "orders")
	for _, id := range []string{"order-1", "order-2", "order-3", "order-4"} {
		if processed, err := guard.IsProcessed(t.Context(), id); !processed || err != nil {
			t.Errorf("%s: processed = %v, %v", id, processed, err)
		}
	}
}

func checkSqlc(t *testing.T, e example) {
	t.Helper()
	db := pgtest.NewEmptyDB(t)
	e.run(t, "DATABASE_URL="+db.DSN)
	if got := query[int](t, db.Pool(t), `SELECT cents::integer FROM shop.accounts`); !slices.Equal(got, []int{2_000}) {
		t.Errorf("balances %d, want 2,000", got)
	}
	checkUndone(t, e, "shop.accounts")
}

func checkOutbox(t *testing.T, e example) {
	t.Helper()
	db := pgtest.NewEmptyDB(t)
	pool := db.Pool(t)
	e.run(t, "DATABASE_URL="+db.DSN)
	want := []string{"order-1", "order-2"}
	if got := query[string](t, pool, `SELECT id FROM public.orders_with_outbox ORDER BY 1`); !slices.Equal(got, want) {
		t.Errorf("orders %q", got)
	}
	if got := query[string](t, pool, `SELECT convert_from(value, 'UTF8')::jsonb->>'order' FROM idem.outbox ORDER BY 1`); !slices.Equal(got, want) {
		t.Errorf("messages about %q", got)
	}
	checkUndone(t, e, "public.orders_with_outbox", "idem.outbox")
}

func checkHTTPCall(t *testing.T, e example) {
	t.Helper()
	db := pgtest.NewEmptyDB(t)
	output := e.run(t, "DATABASE_URL="+db.DSN)
	if want := "got 3 calls and made 2 charges"; !strings.Contains(output, want) {
		t.Errorf("it does not say %q:\n%s", want, output)
	}
	if got := query[string](t, db.Pool(t), `SELECT event_id FROM public.charges ORDER BY 1`); !slices.Equal(got, []string{"order-1", "order-2"}) {
		t.Errorf("charges %q", got)
	}
	checkUndone(t, e, "public.charges")
}

func checkHTTPServer(t *testing.T, e example) {
	t.Helper()
	db := pgtest.NewEmptyDB(t)
	output := e.run(t, "DATABASE_URL="+db.DSN)
	const want = `order-1: 201 Created: paid, receipt 1 (replayed: "true")
order-2: 201 Created: paid, receipt 2 (replayed: "")
order-1: 201 Created: paid, receipt 1 (replayed: "true")
the provider made 2 charges`
	if !strings.Contains(output, want) {
		t.Errorf("it does not say %q:\n%s", want, output)
	}
	if got := query[string](t, db.Pool(t), `SELECT receipt FROM public.payments ORDER BY 1`); !slices.Equal(got, []string{"receipt 1", "receipt 2"}) {
		t.Errorf("payments %q", got)
	}
	checkUndone(t, e, "public.payments")
}

// checkUndone runs an example whose COMMIT fails. All that it writes into these tables must be undone, so it
// has to be in the transaction that claims the event.
func checkUndone(t *testing.T, e example, tables ...string) {
	t.Helper()
	db := pgtest.NewEmptyDB(t)
	if err := migrate.Up(t.Context(), db.DSN, schema.DefaultName); err != nil {
		t.Fatal(err)
	}
	pool := db.Pool(t)
	_, err := pool.Exec(t.Context(), `
		CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''refused''; END';
		CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON idem.processed_events DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION public.refuse()`)
	if err != nil {
		t.Fatal(err)
	}
	if output, err := e.command(t.Context(), "DATABASE_URL="+db.DSN).CombinedOutput(); err == nil || !strings.Contains(string(output), "refused") {
		t.Errorf("it ended otherwise than by the COMMIT: %v\n%s", err, output)
	}
	for _, table := range tables {
		if rows := query[int](t, pool, `SELECT count(*)::integer FROM `+table)[0]; rows != 0 {
			t.Errorf("%s has %d rows of an event that was rolled back", table, rows)
		}
	}
}

func checkMigrateAtStart(t *testing.T, e example) {
	t.Helper()
	db := pgtest.NewEmptyDB(t)
	var outputs [10]string
	var group errgroup.Group
	for i := range outputs {
		group.Go(func() error {
			output, err := e.command(t.Context(), "DATABASE_URL="+db.DSN).CombinedOutput()
			outputs[i] = string(output)
			if err != nil {
				return fmt.Errorf("%w\n%s", err, output)
			}

			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(outputs[:], "")
	if applied, ready := strings.Count(all, "applied "), strings.Count(all, "ready\n"); applied != schema.Version || ready != len(outputs) {
		t.Errorf("%d migrations were applied, want %d; %d instances are ready, want %d\n%s", applied, schema.Version, ready, len(outputs), all)
	}
}

func checkCleanupJob(t *testing.T, e example) {
	t.Helper()
	db := pgtest.NewEmptyDB(t)
	if err := migrate.Up(t.Context(), db.DSN, schema.DefaultName); err != nil {
		t.Fatal(err)
	}
	guard, err := idem.New(db.Pool(t), idem.Config{Consumer: "payments", Retention: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guard.MarkProcessed(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	e.until(t, "the event was forgotten", func() bool {
		known, err := guard.IsProcessed(t.Context(), "old")
		if err != nil {
			t.Fatal(err)
		}

		return !known
	}, "DATABASE_URL="+db.DSN)
}

// The example is a test itself, and runs in the module of the copies.
func checkTesting(t *testing.T, e example) {
	t.Helper()
	goCommand(t, e.folder, e.words...)
}

func guard(t *testing.T, pool *pgxpool.Pool, consumer string) *idem.Guard {
	t.Helper()
	guard, err := idem.New(pool, idem.Config{Consumer: consumer})
	if err != nil {
		t.Fatal(err)
	}

	return guard
}

// query returns the rows of a query with one column.
func query[T any](t *testing.T, pool *pgxpool.Pool, sql string) []T {
	t.Helper()
	rows, err := pool.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}

	return values
}
