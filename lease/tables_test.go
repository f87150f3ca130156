package lease_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/lease"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// suite goes through all that leases do with their tables.
func suite(t *testing.T, guard *idem.Guard) {
	t.Helper()
	config := lease.Config{Backoff: lease.NoBackoff, Unknown: lease.Rerun()}
	rerun := newLeases(t, guard, config)
	config.Unknown = lease.NeedsDecision()
	undecided := newLeases(t, guard, config)
	for _, id := range []string{"e", "0199c2a4-0000-7000-8000-000000000001", "00000000-0000-0000-0000-000000000000", `"'; --`, strings.Repeat("é", idem.MaxEventIDBytes/2)} {
		for _, effect := range []error{errBoom, lease.Unknown(errors.New("no answer \xff\x00")), nil} {
			done, err := rerun.Do(t.Context(), id, func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
				if _, err := a.Step(ctx, "charge", func(context.Context) (lease.Result, error) { return text("charged"), nil }); err != nil {
					t.Error(err)
				}
				done, err := undecided.Do(ctx, id, mustNotRun(t))
				wantsBusy(t, "meanwhile", done, err)

				return lease.Result{Body: []byte("\x00\xff")}, effect
			}, lease.WithFingerprint(7))
			if effect == nil {
				wants(t, id, done, err, lease.Processed, "\x00\xff")
			} else if !errors.As(err, new(*lease.FailedError)) {
				t.Errorf("%q: %v", id, err)
			}
			if lease.IsUnknown(effect) {
				if _, err := undecided.Do(t.Context(), id, mustNotRun(t)); !errors.As(err, new(*lease.UndecidedError)) {
					t.Errorf("%q: %v", id, err)
				}
			}
		}
		done, err := rerun.Do(t.Context(), id, mustNotRun(t))
		wants(t, id, done, err, lease.AlreadyProcessed, "\x00\xff")
		if n, err := guard.Forget(t.Context(), id); n != 1 || err != nil {
			t.Errorf("%q: forgotten %d, %v", id, n, err)
		}
		done, err = rerun.Do(t.Context(), id, returns("again"))
		wants(t, id, done, err, lease.Processed, "again")
	}
	if _, err := guard.CleanupOldEvents(t.Context()); err != nil {
		t.Error(err)
	}
}

// All works in each way in which pgx sends queries, with a search_path that redefines what comes with PostgreSQL.
func TestInAllModes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			guard, err := idem.New(b.db.Pool(t, pgtest.ExecMode(mode), pgtest.Hostile()), idem.Config{Consumer: mode.String(), Isolation: pgx.RepeatableRead})
			if err != nil {
				t.Fatal(err)
			}
			suite(t, guard)
		})
	}
}

func TestInAnotherSchema(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := migrate.Up(t.Context(), b.db.DSN, "other"); err != nil {
		t.Fatal(err)
	}
	guard, err := idem.New(b.owner, idem.Config{Consumer: "payments", Schema: "other"})
	if err != nil {
		t.Fatal(err)
	}
	suite(t, guard)
}

// A session whose isolation is another one by default acquires in READ COMMITTED nevertheless.
func TestDefaultIsolation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	serializable := b.db.Pool(t, func(config *pgxpool.Config) {
		config.ConnConfig.RuntimeParams["default_transaction_isolation"] = "serializable"
	})
	suite(t, newGuard(t, serializable))
}

// The error of a role without the rights that schema.Grants gives, which all tests here have, says what it lacks.
func TestRights(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "REVOKE ALL ON idem.leases FROM "+b.pool.Config().ConnConfig.User)
	done, err := newLeases(t, b.guard, lease.Config{}).Do(t.Context(), "e", mustNotRun(t))
	var pgErr *pgconn.PgError
	if done.Outcome != 0 || !errors.As(err, &pgErr) || pgErr.Code != "42501" || !strings.Contains(err.Error(), `acquire event "e"`) || !strings.Contains(err.Error(), "leases") {
		t.Errorf("got %v, %v", done, err)
	}
}

// What cannot be is refused before any I/O.
func TestRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, config := range []lease.Config{
		{Duration: 1}, {Duration: -1}, {Backoff: -2}, {Backoff: 2, MaxBackoff: 1}, {MaxResultBytes: -1}, {Unknown: lease.Ask(nil)},
	} {
		if _, err := lease.New(b.guard, config); !errors.Is(err, idem.ErrInvalidConfig) {
			t.Errorf("%+v: %v", config, err)
		}
	}
	for _, guard := range []*idem.Guard{nil, {}} {
		if _, err := lease.New(guard, lease.Config{}); !errors.Is(err, idem.ErrInvalidConfig) {
			t.Errorf("%v: %v", guard, err)
		}
	}
	leases := newLeases(t, b.guard, lease.Config{})
	for _, id := range []string{"", "a\x00b", "a\xff", strings.Repeat("x", idem.MaxEventIDBytes+1)} {
		if done, err := leases.Do(t.Context(), id, mustNotRun(t)); done.Outcome != 0 || !errors.Is(err, idem.ErrInvalidEventID) {
			t.Errorf("%.10q: %v, %v", id, done, err)
		}
	}
	var none *lease.Leases
	for name, err := range map[string]error{
		"no leases":   second(none.Do(t.Context(), "e", mustNotRun(t))),
		"zero leases": second(new(lease.Leases).Do(t.Context(), "e", mustNotRun(t))),
		"no function": second(leases.Do(t.Context(), "e", nil)),
		"no option":   second(leases.Do(t.Context(), "e", mustNotRun(t), nil)),
	} {
		if !errors.Is(err, idem.ErrInvalidConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if lease.Unknown(nil) != nil || lease.IsUnknown(nil) || lease.IsUnknown(errBoom) {
		t.Error("nil or a plain error is unknown")
	}
	if n := b.count(t, `SELECT count(*) FROM idem.consumers`); n != 0 {
		t.Error("there was I/O")
	}
}

func second[T any](_ T, err error) error { return err }
