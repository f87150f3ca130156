// Migrate-at-start creates and updates the guard's tables when the service starts. Ten instances may
// start at once: the first migrates, the others wait for it and find nothing left to do.
//
// It needs a role that may create the schema or owns it, and a connection to PostgreSQL itself: the lock
// that instances wait for belongs to a session, which a transaction pooler such as PgBouncer does not
// keep. Where the service's role must not own tables, run "idemctl migrate up" in the deployment, before
// the new release starts, and leave this out: the service then ends with idem.ErrSchemaVersion if that
// was forgotten.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // The driver "pgx" of database/sql.

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

const usage = `set DATABASE_URL. For the PostgreSQL of examples/compose.yaml:
  docker compose up --detach --wait
  export DATABASE_URL=postgres://postgres:example@localhost:5432/postgres`

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	databaseURL := os.Getenv("DATABASE_URL")
	if databaseURL == "" {
		return errors.New(usage)
	}
	if err := migrateUp(ctx, databaseURL); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}

	// The service goes on as always. Register fails if the tables are older than this release needs;
	// newer ones are fine, so a migrated database serves the former release, too.
	pool, err := pgxpool.New(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	guard, err := idem.New(pool, idem.Config{Consumer: "order-service"})
	if err != nil {
		return err
	}
	if err := guard.Register(ctx); err != nil {
		return err
	}
	fmt.Println("ready")

	return nil
}

// migrateUp is migrate.Up, and tells what it does. If a service has another migrator for its own tables,
// nothing changes for that: the guard's have a schema, a version table and a lock of their own.
func migrateUp(ctx context.Context, databaseURL string) (err error) {
	database, err := sql.Open("pgx", databaseURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	migrator, err := migrate.New(database, schema.DefaultName)
	if err != nil {
		return err
	}
	migrator.OnWait(func(holder string) { fmt.Println("waiting for the migration of", holder) })
	applied, err := migrator.Up(ctx)
	for _, migration := range applied {
		fmt.Println("applied", migration.Name)
	}

	return err
}
