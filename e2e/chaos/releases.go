package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// The tables are migrated to the next release while workers of this one work with them; then workers of both do. At the end the
// roll-out is taken back, and the tables stay as they are. There is no next release yet, and no former one that has what these workers use: it is
// this code with one more migration, which adds a column to each table.

const (
	migrateUp = "schema migration"

	// envMigrate makes this program migrate the tables, of that connection string, to its release.
	envMigrate = "IDEM_CHAOS_MIGRATE"

	module = "github.com/nova-events/idempotent-consumer"
)

const nextMigration = `-- +goose Up
CREATE OR REPLACE FUNCTION idem.schema_version() RETURNS integer
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN %d;
-- +goose StatementBegin
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'idem' AND tablename <> 'idem_migrations' LOOP
        EXECUTE format('ALTER TABLE idem.%%I ADD COLUMN next_release bigint NOT NULL DEFAULT 0', name);
    END LOOP;
END $$;
-- +goose StatementEnd
`

// nextRelease adds what the next release changes to an overlay for go build.
func nextRelease(ctx context.Context, folder string, overlay map[string]string) error {
	said, err := exec.CommandContext(ctx, "go", "list", "-f={{.Dir}}", module+"/schema").Output()
	if err != nil {
		return fmt.Errorf("where is package schema: %w", err)
	}
	sources := strings.TrimSpace(string(said))
	source := filepath.Join(sources, "schema.go")
	text, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	const next = schema.Version + 1
	text, err = replace(text, fmt.Sprintf("const Version = %d\n", schema.Version), fmt.Sprintf("const Version = %d\n", next))
	if err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	migration := filepath.Join(sources, fmt.Sprintf("%05d_next.sql", next))
	overlay[source], overlay[migration] = filepath.Join(folder, "schema.go"), filepath.Join(folder, "next.sql")
	if err := os.WriteFile(overlay[source], text, 0o600); err != nil {
		return err
	}

	return os.WriteFile(overlay[migration], fmt.Appendf(nil, nextMigration, next), 0o600)
}

// migrateTables is what the next release's program does instead of working. It returns the exit status.
func migrateTables(dsn string) int {
	if err := migrate.Up(context.Background(), dsn, schema.DefaultName); err != nil {
		fmt.Fprintln(os.Stderr, "migrate:", err)

		return 1
	}

	return 0
}

// migrate migrates as an operator does: a migration that has to wait for long gives up, and is tried again. A failover must not
// lose it, because the next release's workers do not work with older tables.
func (n *nemesis) migrate(ctx context.Context, _ fault) error {
	if n.fleet.migrated() {
		return errNothing
	}
	n.topology.Lock()
	defer n.topology.Unlock()
	ctx, cancel := context.WithTimeout(ctx, n.plan.patience)
	defer cancel()
	for tries := 1; ; tries++ {
		command := exec.CommandContext(ctx, n.fleet.programs.next)
		command.Env = append(os.Environ(), envMigrate+"="+n.stack.pair.DSN(database), "PGOPTIONS=-c lock_timeout=2s")
		said, err := command.CombinedOutput()
		if err == nil {
			wait(ctx, unwritten)
			n.fleet.rollOut(true)
			n.sayf("the tables are migrated, tries: %d", tries)

			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w\n%s", err, said)
		}
		wait(ctx, observeEvery)
	}
}

func (f *fleet) migrated() bool {
	f.mu.Lock()
	defer f.mu.Unlock()

	return f.rollsOut
}

// rollOut lets workers that start be of the next release, some of them, or no longer.
func (f *fleet) rollOut(now bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rollsOut = now
}

// takeBack ends the workers of the next release, and starts others of this one.
func (f *fleet) takeBack(ctx context.Context) error {
	f.rollOut(false)
	f.mu.Lock()
	all := append([]*member(nil), f.workers...)
	f.mu.Unlock()
	for _, m := range all {
		if m.job.Next {
			f.end(ctx, m, syscall.SIGTERM)
		}
	}

	return f.fill(ctx)
}
