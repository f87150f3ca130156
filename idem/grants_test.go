package idem_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/schema"
)

// asRole makes all sessions of a pool work with the rights of a role.
func asRole(role string) pgtest.PoolOption {
	return func(config *pgxpool.Config) {
		config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "SET ROLE "+pgx.Identifier{role}.Sanitize())

			return err
		}
	}
}

// setupRole returns a bundle whose pool works for a role with the rights in grants only.
func setupRole(t *testing.T, grants func(role string) string) (service, owner *bundle) {
	t.Helper()
	owner = setup(t)
	role := owner.db.Name + `_ser"vice`
	quoted := pgx.Identifier{role}.Sanitize()
	owner.exec(t, "CREATE ROLE "+quoted)
	t.Cleanup(func() {
		for _, sql := range []string{"DROP OWNED BY ", "DROP ROLE "} {
			if _, err := owner.owner.Exec(context.Background(), sql+quoted); err != nil {
				t.Error(err)
			}
		}
	})
	for sql := range strings.SplitSeq(grants(role), ";\n") {
		owner.exec(t, sql)
	}
	owner.exec(t, "GRANT SELECT, INSERT ON public.effects TO "+quoted)
	service = &bundle{db: owner.db, pool: owner.db.OwnerPool(t, asRole(role)), owner: owner.owner}
	service.guard = newGuard(t, service.pool, idem.Config{Consumer: "orders"})

	return service, owner
}

func granted(t *testing.T) func(role string) string {
	t.Helper()

	return func(role string) string {
		sql, err := schema.Grants(schema.DefaultName, role)
		if err != nil {
			t.Fatal(err)
		}

		return sql
	}
}

func TestGrantsAreEnough(t *testing.T) {
	t.Parallel()
	b, owner := setupRole(t, granted(t))
	b.suiteProcess(t, "")
	b.suiteFailures(t, "")
	b.suiteRecords(t, "")
	b.suiteClaimTx(t, b.pool, "")
	b.suiteCheckpoint(t, "")
	if n, err := b.guard.MarkAllProcessed(t.Context(), []string{"old", "young"}); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	owner.exec(t, `UPDATE idem.processed_events SET processed_at = now() - interval '1 year' WHERE event_id = 'old'`)
	report, err := b.guard.CleanupOldEvents(t.Context())
	if err != nil || report.Deleted != 1 {
		t.Errorf("CleanupOldEvents: %+v, %v", report, err)
	}
}

func TestGrantsAreNoMoreThanNeeded(t *testing.T) {
	t.Parallel()
	b, _ := setupRole(t, granted(t))
	if err := b.guard.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"CREATE TABLE idem.more ()",
		"DROP TABLE idem.processed_events",
		"TRUNCATE idem.processed_events",
		"ALTER TABLE idem.processed_events ADD COLUMN more int",
		"CREATE INDEX ON idem.processed_events (claim_id)",
		"DROP SCHEMA idem CASCADE",
		"UPDATE idem.processed_events SET claim_id = gen_random_uuid()",
		"UPDATE idem.consumers SET retention = '1 day'",
		"UPDATE idem.consumers SET paused_at = now(), paused_by = 'x', pause_reason = ''",
		"DELETE FROM idem.consumers",
		"UPDATE idem.consumers SET name = 'x'",
		"SELECT * FROM idem.idem_migrations",
		"SELECT * FROM idem.events",
		"DELETE FROM idem.checkpoints",
		"DELETE FROM idem.cleanup",
		"UPDATE idem.dead_letters SET topic = 'x'",
		"UPDATE idem.leases SET event_id = 'x'",
		"UPDATE idem.results SET step = 'x'",
		"UPDATE idem.outbox SET value = NULL",
		"SELECT pg_catalog.nextval('idem.outbox_id_seq')",
		"SELECT pg_catalog.setval('idem.outbox_id_seq', 1)",
	} {
		_, err := b.pool.Exec(t.Context(), sql)
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) || pgErr.Code != "42501" {
			t.Errorf("%s: %v, want that it is denied", sql, err)
		}
	}
}

// A service that may not even register works for a consumer that somebody else registered, and
// says what it lacks for another one.
func TestRoleThatMayNotRegister(t *testing.T) {
	t.Parallel()
	b, owner := setupRole(t, func(role string) string {
		var kept []string
		for sql := range strings.SplitSeq(granted(t)(role), ";\n") {
			if !strings.Contains(sql, "GRANT INSERT (id") {
				kept = append(kept, sql)
			}
		}

		return strings.Join(kept, ";\n")
	})
	err := b.guard.Register(t.Context())
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != "42501" || idem.IsTransient(err) || !strings.Contains(err.Error(), "register consumer") {
		t.Errorf("unregistered: %v", err)
	}
	if err := newGuard(t, owner.pool, idem.Config{Consumer: "orders", Retention: time.Hour}).Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	outcome, err := b.guard.ProcessIfNew(t.Context(), "e", effect("e"))
	want(t, "registered", outcome, err, idem.Processed)
	if _, err := b.guard.CleanupOldEvents(t.Context()); err != nil {
		t.Error(err)
	}
}
