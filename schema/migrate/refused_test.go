package migrate_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

func TestReservedWordIsRefused(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.NewEmptyDB(t))
	m := migrator(t, db, "select")
	if _, err := m.Up(t.Context()); !errors.Is(err, schema.ErrInvalidName) || !strings.Contains(err.Error(), "reserved word") {
		t.Errorf("Up: %v", err)
	}
	if states, err := m.Status(t.Context()); err != nil || len(states) == 0 {
		t.Errorf("Status: %+v, %v", states, err)
	}
}

func TestMisuse(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.NewEmptyDB(t))
	if _, err := migrate.New(nil, schema.DefaultName); err == nil {
		t.Error("New takes a nil handle")
	}
	if _, err := migrate.New(db, `x"; DROP`); !errors.Is(err, schema.ErrInvalidName) {
		t.Errorf("New: %v", err)
	}
	if _, err := migrate.Scripts("X"); !errors.Is(err, schema.ErrInvalidName) {
		t.Errorf("Scripts: %v", err)
	}
	for _, version := range []int64{-1, 99999} {
		if _, err := migrator(t, db, schema.DefaultName).To(t.Context(), version); !errors.Is(err, migrate.ErrUnknownVersion) {
			t.Errorf("To(%d): %v", version, err)
		}
	}
	err := migrate.Up(t.Context(), "postgres://u:secret@127.0.0.1:1/x?sslmode=disable", schema.DefaultName)
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("Up: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := migrator(t, db, schema.DefaultName).Up(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Up: %v", err)
	}
}

func TestServerTooOld(t *testing.T) {
	t.Parallel()
	if err := migrate.CheckServer(130011); !errors.Is(err, migrate.ErrServerTooOld) || !strings.Contains(err.Error(), "version 13, version 14 or newer") {
		t.Errorf("PostgreSQL 13: %v", err)
	}
	if err := migrate.CheckServer(140000); err != nil {
		t.Errorf("PostgreSQL 14: %v", err)
	}
}

func TestTablesOfAnotherMigratorAreLeftToIt(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.NewEmptyDB(t))
	scripts, err := migrate.Scripts("other")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "CREATE SCHEMA other;"+scripts[0].Up+scripts[1].Up); err != nil {
		t.Fatal(err)
	}
	m := migrator(t, db, "other")
	if state, err := m.State(t.Context()); err != nil || state != (migrate.State{Version: 2, Foreign: true}) {
		t.Errorf("State: %+v, %v", state, err)
	}
	if _, err := m.Up(t.Context()); !errors.Is(err, migrate.ErrForeign) || !strings.Contains(err.Error(), "at version 2 of ") {
		t.Errorf("Up: %v", err)
	}
}

// In another encoding SQL would hash other bytes than services do.
func TestOtherEncodingsAreRefused(t *testing.T) {
	t.Parallel()
	admin := pgtest.NewEmptyDB(t)
	db := open(t, admin)
	for _, encoding := range []string{"LATIN1", "EUC_JP", "SQL_ASCII"} {
		name := admin.Name + "_" + strings.ToLower(encoding)
		if _, err := db.ExecContext(t.Context(), "CREATE DATABASE "+name+" TEMPLATE template0 ENCODING '"+encoding+"' LOCALE 'C'"); err != nil {
			t.Fatal(err)
		}
		config, err := pgx.ParseConfig(admin.DSN)
		if err != nil {
			t.Fatal(err)
		}
		config.Database = name
		other := stdlib.OpenDB(*config)
		if _, err := migrator(t, other, "other").Up(t.Context()); !errors.Is(err, migrate.ErrEncoding) || !strings.Contains(err.Error(), encoding) {
			t.Errorf("%s: %v", encoding, err)
		}
		// Another migrator is told by the script.
		scripts, err := migrate.Scripts("other")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.ExecContext(t.Context(), "CREATE SCHEMA other;"+scripts[0].Up); err == nil || !strings.Contains(err.Error(), "must have the encoding UTF8, not "+encoding) {
			t.Errorf("%s: %v", encoding, err)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
		if _, err := db.ExecContext(t.Context(), "DROP DATABASE "+name); err != nil {
			t.Error(err)
		}
	}
}

// A service that migrates at its start needs the rights of a service only, as long as there is nothing to do.
func TestUpWithTheRightsOfAService(t *testing.T) {
	t.Parallel()
	database := pgtest.NewEmptyDB(t)
	owner := migrator(t, open(t, database), schema.DefaultName)
	up(t, owner)
	service := migrator(t, asService(t, database), schema.DefaultName)
	if steps := up(t, service); len(steps) != 0 {
		t.Errorf("steps on tables that are current: %+v", steps)
	}
	if _, err := owner.To(t.Context(), schema.Version-1); err != nil {
		t.Fatal(err)
	}
	if _, err := service.Up(t.Context()); err == nil || !strings.Contains(err.Error(), "only the role that owns the tables may migrate them") {
		t.Errorf("Up on older tables: %v", err)
	}
}

// asService returns a handle whose role has the rights in the database that a service needs.
func asService(t *testing.T, database *pgtest.DB) *sql.DB {
	t.Helper()
	db, role := open(t, database), database.Name+"_service"
	exec := func(sql string) {
		if _, err := db.ExecContext(context.WithoutCancel(t.Context()), sql); err != nil {
			t.Error(err)
		}
	}
	grants, err := schema.Grants(schema.DefaultName, role)
	if err != nil {
		t.Fatal(err)
	}
	exec("CREATE ROLE " + role)
	t.Cleanup(func() { exec("DROP OWNED BY " + role + "; DROP ROLE " + role) })
	exec(grants)
	config, err := pgx.ParseConfig(database.DSN)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["role"] = role
	service := stdlib.OpenDB(*config)
	t.Cleanup(func() {
		if err := service.Close(); err != nil {
			t.Error(err)
		}
	})

	return service
}
