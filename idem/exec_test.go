package idem_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

type queue = func(b *pgx.Batch) error

// queued queues the effect of an event and statements behind it.
func queued(eventID string, statements ...string) queue {
	return func(b *pgx.Batch) error {
		b.Queue(`INSERT INTO public.effects VALUES ($1)`, eventID)
		for _, sql := range statements {
			b.Queue(sql)
		}

		return nil
	}
}

func TestExecIfNew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, id := range []string{"order-1", "0190b5a5-7e4c-7000-8000-000000000001", "Straße ' \\ \n \U0001F600"} {
		for _, wanted := range []idem.Outcome{idem.Processed, idem.AlreadyProcessed, idem.AlreadyProcessed} {
			got, err := b.guard.ExecIfNew(t.Context(), id, queued(id, `SELECT 1`))
			want(t, id, got, err, wanted)
		}
		b.wantProcessed(t, id, true)
		got, err := b.guard.ProcessIfNew(t.Context(), id, effect(id))
		want(t, "with a handler", got, err, idem.AlreadyProcessed)
	}
	nothing := func(*pgx.Batch) error { return nil }
	got, err := b.guard.ExecIfNew(t.Context(), "marked", nothing, idem.WithMetadata(idem.Metadata{Host: `h\'`}))
	want(t, "no statements", got, err, idem.Processed)
	record, err := b.guard.Lookup(t.Context(), "marked")
	if err != nil || !sameJSON(t, record.Metadata, `{"host": "h\\'"}`) {
		t.Errorf("metadata %s, %v", record.Metadata, err)
	}
}

// execFailures are statements that fail, and their SQLSTATEs.
var execFailures = map[string]struct {
	sql, code string
}{
	"division":    {sql: `SELECT 1/0`, code: "22012"},
	"unique":      {sql: `INSERT INTO public.uniques VALUES (1)`, code: "23505"},
	"the guard's": {sql: `INSERT INTO idem.processed_events SELECT * FROM idem.processed_events`, code: "23505"},
	"at COMMIT":   {sql: `INSERT INTO public.children VALUES (1)`, code: "23503"},
	"no table":    {sql: `INSERT INTO public.nowhere VALUES (1)`, code: "42P01"},
	"syntax":      {sql: `INSRT`, code: "42601"},
	"odd":         {sql: `DO $$ BEGIN RAISE EXCEPTION '' USING ERRCODE = '58030'; END $$`, code: "58030"},
}

func (b *bundle) prepareFailures(t *testing.T) {
	t.Helper()
	b.exec(t, `CREATE TABLE public.uniques AS SELECT 1 AS id; ALTER TABLE public.uniques ADD UNIQUE (id);
		CREATE TABLE public.parents (id int PRIMARY KEY);
		CREATE TABLE public.children (id int REFERENCES public.parents DEFERRABLE INITIALLY DEFERRED)`)
}

// In every mode all of it takes effect or nothing.
func TestExecIfNewIsAtomicInAllModes(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.prepareFailures(t)
			guard := newGuard(t, b.db.Pool(t, pgtest.ExecMode(mode.QueryExecMode), pgtest.MaxConns(1)), idem.Config{Consumer: "orders"})
			for name, failure := range execFailures {
				outcome, err := guard.ExecIfNew(t.Context(), name, queued(name, failure.sql, `SELECT 1`))
				var (
					handlerErr *idem.HandlerError
					pgErr      *pgconn.PgError
				)
				if outcome != 0 || !errors.As(err, &handlerErr) || handlerErr.EventID != name || !errors.As(err, &pgErr) || pgErr.Code != failure.code || idem.IsTransient(err) || errors.Is(err, idem.ErrHandlerTx) {
					t.Errorf("%s: %v, %v", name, outcome, err)
				}
				b.wantProcessed(t, name, false)
				outcome, err = guard.ExecIfNew(t.Context(), name, queued(name))
				want(t, name+" mended", outcome, err, idem.Processed)
				b.wantProcessed(t, name, true)
				outcome, err = guard.ExecIfNew(t.Context(), name, queued(name))
				want(t, name+" again", outcome, err, idem.AlreadyProcessed)
			}
			for _, level := range isolationLevels {
				id := string(level)
				check := fmt.Sprintf(`SELECT 1 / (current_setting('transaction_isolation') = '%s')::int`, level)
				outcome, err := guard.ExecIfNew(t.Context(), id, queued(id, check), idem.WithIsolation(level))
				want(t, id, outcome, err, idem.Processed)
			}
		})
	}
}

// An argument that cannot be encoded is found when the batch is sent.
func TestExecIfNewWithArgumentsThatDoNotFit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, mode := range modes {
		guard := newGuard(t, b.db.Pool(t, pgtest.ExecMode(mode.QueryExecMode)), idem.Config{Consumer: "orders"})
		outcome, err := guard.ExecIfNew(t.Context(), mode.String(), func(batch *pgx.Batch) error {
			batch.Queue(`INSERT INTO public.effects VALUES ($1)`, make(chan int))

			return nil
		})
		var handlerErr *idem.HandlerError
		if outcome != 0 || !errors.As(err, &handlerErr) || idem.IsTransient(err) {
			t.Errorf("%v: %v, %v", mode, outcome, err)
		}
		b.wantProcessed(t, mode.String(), false)
	}
}

// They are not sent: some of them leave another transaction open, without the claim or with nothing else.
func TestExecIfNewStatementsCannotEndTheTransaction(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			guard := newGuard(t, b.db.Pool(t, pgtest.ExecMode(mode.QueryExecMode)), idem.Config{Consumer: "orders"})
			for _, statements := range [][]string{
				{`ROLLBACK AND CHAIN`}, {`ROLLBACK`, `BEGIN`}, {`COMMIT AND CHAIN`, `SELECT 1/0`}, {`COMMIT`}, {`ROLLBACK`}, {`END`, `SELECT 1/0`},
			} {
				id := strings.Join(statements, "; ")
				var handlerErr *idem.HandlerError
				outcome, err := guard.ExecIfNew(t.Context(), id, queued(id, statements...))
				if outcome != 0 || !errors.As(err, &handlerErr) || handlerErr.EventID != id || !errors.Is(err, idem.ErrHandlerTx) || idem.IsTransient(err) {
					t.Errorf("%s: %v, %v", id, outcome, err)
				}
				b.wantProcessed(t, id, false)
				outcome, err = guard.ExecIfNew(t.Context(), id, queued(id))
				want(t, id+" mended", outcome, err, idem.Processed)
				b.wantProcessed(t, id, true)
			}
			outcome, err := guard.ExecIfNew(t.Context(), "e", queued("e", `SAVEPOINT a`, `ROLLBACK TO a`, `RELEASE a`))
			want(t, "savepoints", outcome, err, idem.Processed)
			b.wantProcessed(t, "e", true)
		})
	}
}

// rewriter is a pgx.QueryRewriter: the statement is another one than its text says.
type rewriter string

func (r rewriter) RewriteQuery(context.Context, *pgx.Conn, string, []any) (string, []any, error) {
	return string(r), nil, nil
}

// A statement can end the transaction by a way around the refusal.
func TestExecIfNewNoticesATransactionThatHasEnded(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			guard := newGuard(t, b.db.Pool(t, pgtest.ExecMode(mode.QueryExecMode)), idem.Config{Consumer: "orders"})
			const transient = `DO $$ BEGIN RAISE EXCEPTION '' USING ERRCODE = '40001'; END $$`
			for i, statements := range [][]string{{`COMMIT`}, {`ROLLBACK`}, {`END`, transient}, {`ABORT`, transient}} {
				runs, id := 0, strconv.Itoa(i)
				outcome, err := guard.ExecIfNew(t.Context(), id, func(batch *pgx.Batch) error {
					runs++
					err := queued(id)(batch)
					for _, sql := range statements {
						batch.Queue(`SELECT 1`, rewriter(sql))
					}

					return err
				})
				if outcome != 0 || !errors.Is(err, idem.ErrHandlerTx) || idem.IsTransient(err) || runs != 1 {
					t.Errorf("%s: %v, %v after %d runs", statements, outcome, err, runs)
				}
			}
		})
	}
}

// Several statements in one query are possible in the simple protocol.
func TestExecIfNewWithSeveralStatementsInAQuery(t *testing.T) {
	t.Parallel()
	b := setup(t)
	guard := newGuard(t, b.db.Pool(t, pgtest.ExecMode(pgx.QueryExecModeSimpleProtocol)), idem.Config{Consumer: "orders"})
	outcome, err := guard.ExecIfNew(t.Context(), "good", queued("good", `SELECT 1; SELECT 2; SELECT 3;`))
	want(t, "good", outcome, err, idem.Processed)
	b.wantProcessed(t, "good", true)
	outcome, err = guard.ExecIfNew(t.Context(), "bad", queued("bad", `SELECT 1; SELECT 2; SELECT 3; SELECT 1/0`))
	var handlerErr *idem.HandlerError
	if outcome != 0 || !errors.As(err, &handlerErr) || errors.Is(err, idem.ErrHandlerTx) {
		t.Errorf("bad: %v, %v", outcome, err)
	}
	b.wantProcessed(t, "bad", false)
	outcome, err = guard.ExecIfNew(t.Context(), "ended", queued("ended", `SELECT 1; SELECT 2; COMMIT; SELECT 1/0`))
	if outcome != 0 || !errors.Is(err, idem.ErrHandlerTx) {
		t.Errorf("ended: %v, %v", outcome, err)
	}
	b.wantProcessed(t, "ended", false)
}

func TestExecIfNewQueueThatFails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	guard := b.impatient(t)
	outcome, err := guard.ExecIfNew(t.Context(), "e", func(batch *pgx.Batch) error {
		return errors.Join(queued("e")(batch), errBoom)
	})
	var handlerErr *idem.HandlerError
	if outcome != 0 || !errors.As(err, &handlerErr) || !errors.Is(err, errBoom) || idem.IsTransient(err) {
		t.Errorf("got %v, %v", outcome, err)
	}
	func() {
		defer func() {
			if value := recover(); value != any(errBoom) {
				t.Errorf("recovered %v", value)
			}
		}()
		_, _ = guard.ExecIfNew(t.Context(), "e", func(*pgx.Batch) error {
			if n := b.pool.Stat().AcquiredConns(); n != 0 {
				t.Errorf("%d connections are held meanwhile", n)
			}
			panic(errBoom)
		})
	}()
	b.wantProcessed(t, "e", false)
	if n := b.pool.Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections were not given back", n)
	}
}

func TestExecIfNewRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	callback := func(add func(*pgx.QueuedQuery)) queue {
		return func(batch *pgx.Batch) error {
			add(batch.Queue(`INSERT INTO public.effects VALUES ('e') RETURNING event_id`))

			return nil
		}
	}
	for name, call := range map[string]struct {
		queue  queue
		option idem.ExecOption
	}{
		"nil":       {nil, idem.WithIsolation(pgx.ReadCommitted)},
		"an option": {queued("e"), nil},
		"callback: Exec": {callback(func(q *pgx.QueuedQuery) {
			q.Exec(func(pgconn.CommandTag) error { return nil })
		}), idem.WithIsolation(pgx.ReadCommitted)},
		"callback: QueryRow": {callback(func(q *pgx.QueuedQuery) {
			q.QueryRow(func(pgx.Row) error { return errBoom })
		}), idem.WithIsolation(pgx.ReadCommitted)},
	} {
		what, _, _ := strings.Cut(name, ":")
		outcome, err := b.guard.ExecIfNew(t.Context(), "e", call.queue, call.option)
		if outcome != 0 || !errors.Is(err, idem.ErrInvalidConfig) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v, %v", name, outcome, err)
		}
		b.wantProcessed(t, "e", false)
	}
	if _, err := b.guard.ExecIfNew(t.Context(), "", queued("e")); !errors.Is(err, idem.ErrInvalidEventID) {
		t.Errorf("without an event id: %v", err)
	}
}

func TestExecIfNewRace(t *testing.T) {
	t.Parallel()
	for _, level := range isolationLevels {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			guard := newGuard(t, b.db.Pool(t), idem.Config{
				Consumer: "orders", Isolation: level,
				Retry: idem.RetryPolicy{MaxAttempts: idem.Unlimited, InitialBackoff: time.Millisecond},
			})
			for round := range 100 {
				var (
					id        = fmt.Sprint("event-", round)
					processed atomic.Int32
					group     sync.WaitGroup
				)
				for range 20 {
					group.Go(func() {
						switch outcome, err := guard.ExecIfNew(t.Context(), id, queued(id)); {
						case err != nil:
							t.Error(err)
						case outcome == idem.Processed:
							processed.Add(1)
						}
					})
				}
				group.Wait()
				if n := processed.Load(); n != 1 {
					t.Fatalf("%s: %d calls said processed", id, n)
				}
				b.wantProcessed(t, id, true)
			}
		})
	}
}

func TestExecIfNewWaitsForTheOther(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for id, wanted := range map[string]idem.Outcome{"rolled back": idem.Processed, "committed": idem.AlreadyProcessed} {
		type result struct {
			outcome idem.Outcome
			err     error
		}
		second := make(chan result, 1)
		_, err := b.guard.ProcessIfNew(t.Context(), id, func(ctx context.Context, tx pgx.Tx) error {
			go func() { //nolint:contextcheck // It is another's.
				outcome, err := b.guard.ExecIfNew(t.Context(), id, queued(id))
				second <- result{outcome, err}
			}()
			b.waitForLock(t) //nolint:contextcheck // The helper uses the test's.
			if wanted == idem.Processed {
				return errBoom
			}

			return effect(id)(ctx, tx)
		})
		if (err == nil) != (wanted == idem.AlreadyProcessed) {
			t.Fatal(err)
		}
		got := <-second
		want(t, id, got.outcome, got.err, wanted)
		b.wantProcessed(t, id, true)
	}
}

func TestExecIfNewRetriesTransientErrors(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, code := range []string{"40001", "40P01", "53300", "08006", "57P01"} {
		runs := 0
		outcome, err := b.impatient(t).ExecIfNew(t.Context(), code, func(batch *pgx.Batch) error {
			statements := []string{`SELECT 1`}
			if runs++; runs == 1 {
				statements = []string{fmt.Sprintf(`DO $$ BEGIN RAISE EXCEPTION '' USING ERRCODE = '%s'; END $$`, code)}
			}

			return queued(code, statements...)(batch)
		})
		want(t, code, outcome, err, idem.Processed)
		if runs != 2 {
			t.Errorf("%s: %d runs", code, runs)
		}
		b.wantProcessed(t, code, true)
	}
}

// The sessions of the pool take no writes, those made later do: a failover.
func TestExecIfNewOnAServerThatTakesNoWrites(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := b.guard.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := true
	pool := b.db.Pool(t, pgtest.MaxConns(1), func(config *pgxpool.Config) {
		config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			if !first {
				return nil
			}
			first = false
			_, err := conn.Exec(ctx, "SET default_transaction_read_only = on")

			return err
		}
	})
	guard := newGuard(t, pool, idem.Config{Consumer: "orders", Retry: idem.RetryPolicy{MaxAttempts: 2, InitialBackoff: time.Microsecond}})
	outcome, err := guard.ExecIfNew(t.Context(), "e", queued("e"))
	want(t, "e", outcome, err, idem.Processed)
	b.wantProcessed(t, "e", true)
}
