// Package migrate creates and changes the tables of the guard with goose.
//
// It lives beside whatever migrator the service itself uses: it has a version table of its
// own in the guard's schema, an advisory lock of its own, and registers nothing globally.
// Connect to PostgreSQL itself for it, not to a transaction pooler: the lock belongs to a
// session.
package migrate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/nova-events/idempotent-consumer/schema"
)

const (
	versionTable = "idem_migrations"
	lockID       = 0x6964656d // "idem"
)

var (
	// ErrServerTooOld is returned when the server is older than PostgreSQL 14. Upgrade it.
	ErrServerTooOld = errors.New("PostgreSQL server too old")

	// ErrEncoding is returned when the encoding of the database is not UTF8, in which event ids are
	// hashed. It cannot be changed: create another database, with ENCODING 'UTF8'.
	ErrEncoding = errors.New("the database's encoding is not UTF8")

	// ErrForeign is returned when another migrator has made the tables, for instance from Scripts. Go on
	// with that one.
	ErrForeign = errors.New("the tables were made by another migrator")

	// ErrUnknownVersion is returned when a migration to a version is asked for that does not
	// exist. Status lists those that do.
	ErrUnknownVersion = errors.New("unknown migration version")
)

// Migration is one step of the schema and whether the database has taken it.
type Migration struct {
	Version   int64
	Name      string    // file name
	AppliedAt time.Time // zero if pending
}

// State is what a database holds.
type State struct {
	// Version is the number of the latest migration that the tables have taken, 0 without tables. It
	// may be newer than Latest.
	Version int64
	// Foreign is set when another migrator made the tables.
	Foreign bool
}

// Migrator moves one PostgreSQL schema between versions.
type Migrator struct {
	db       *sql.DB
	name     string
	provider *goose.Provider
	tell     func(holder string) // may be nil
	created  bool                // the schema, by this migrator
}

// New returns a Migrator for the PostgreSQL schema of that name (schema.DefaultName is the
// usual one). It does no I/O; db stays the caller's to close.
func New(db *sql.DB, name string) (*Migrator, error) {
	files, err := schema.FS(name)
	if err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}

	return newMigrator(db, name, files)
}

func newMigrator(db *sql.DB, name string, files fs.FS) (*Migrator, error) {
	if db == nil {
		return nil, errors.New("migrate: the database handle is nil")
	}
	store, err := database.NewStoreFromQuerier(name+"."+versionTable, versions{name})
	if err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	m := &Migrator{db: db, name: name}
	m.provider, err = goose.NewProvider(goose.DialectCustom, db, files,
		goose.WithStore(store),
		goose.WithSessionLocker(locker{m}),
		goose.WithDisableGlobalRegistry(true),
	)
	if err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}

	return m, nil
}

// Up applies to the database at dsn all migrations that it lacks.
func Up(ctx context.Context, dsn, name string) error {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return fmt.Errorf("migrate: %w", err) // pgx leaves the password out.
	}
	db := stdlib.OpenDB(*config)
	defer db.Close() //nolint:errcheck // Nothing is pending on it.

	m, err := New(db, name)
	if err != nil {
		return err
	}
	_, err = m.Up(ctx)

	return err
}

// Up creates the schema if it is missing, applies all pending migrations and returns those
// that it applied. A database that a newer release has migrated further is left as it is. If nothing
// is pending, the rights of a service (schema.Grants) are enough.
func (m *Migrator) Up(ctx context.Context) ([]Migration, error) {
	state, err := m.prepare(ctx)
	if err != nil || state.Version >= m.Latest() {
		return nil, err
	}

	return finish(m.provider.Up(ctx))
}

// CreatedSchema reports whether Up or To found no schema and created it.
func (m *Migrator) CreatedSchema() bool { return m.created }

// Latest is the newest version there is.
func (m *Migrator) Latest() int64 {
	sources := m.provider.ListSources()
	if len(sources) == 0 {
		return 0
	}

	return sources[len(sources)-1].Version
}

// State tells what the database holds. It needs no more than the right to use the schema, and
// changes nothing.
func (m *Migrator) State(ctx context.Context) (State, error) {
	var known, kept, readable bool
	err := m.db.QueryRowContext(ctx, `SELECT pg_catalog.to_regprocedure($1) IS NOT NULL, pg_catalog.to_regclass($2) IS NOT NULL,
		coalesce(pg_catalog.has_table_privilege(pg_catalog.to_regclass($2), 'SELECT'), false)`,
		m.name+".schema_version()", m.name+"."+versionTable).Scan(&known, &kept, &readable)
	if err != nil {
		return State{}, fmt.Errorf("migrate: look for the version: %w", err)
	}
	var tables, applied int64
	if known {
		err = m.db.QueryRowContext(ctx, schema.Qualify("SELECT idem.schema_version()", m.name)).Scan(&tables)
	}
	if err == nil && readable {
		err = m.db.QueryRowContext(ctx, schema.Qualify("SELECT coalesce(pg_catalog.max(version_id), 0) FROM idem."+versionTable, m.name)).Scan(&applied)
	}
	if err != nil {
		return State{}, fmt.Errorf("migrate: read the version: %w", err)
	}

	return State{Version: max(tables, applied), Foreign: tables > 0 && (!kept || readable && applied == 0)}, nil
}

// To migrates up or down to version and returns the steps it took. Version 0 removes all
// tables and with them every claim; the schema itself and the version table stay.
func (m *Migrator) To(ctx context.Context, version int64) ([]Migration, error) {
	if version != 0 && !m.has(version) {
		return nil, fmt.Errorf("%w %d", ErrUnknownVersion, version)
	}
	if _, err := m.prepare(ctx); err != nil {
		return nil, err
	}
	current, err := m.provider.GetDBVersion(ctx)
	if err != nil {
		return nil, fmt.Errorf("migrate: read the version: %w", err)
	}

	move := m.provider.UpTo
	if version < current {
		move = m.provider.DownTo
	}

	return finish(move(ctx, version))
}

// finish returns the steps that were taken, also where a later one failed.
func finish(results []*goose.MigrationResult, err error) ([]Migration, error) {
	var partial *goose.PartialError
	if errors.As(err, &partial) {
		results = partial.Applied
	}
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && refused.Code == "42501":
		err = fmt.Errorf("migrate: only the role that owns the tables may migrate them; have an operator run \"idemctl migrate up\" as that role before services start: %w", err)
	case err != nil:
		err = fmt.Errorf("migrate: %w", err)
	}

	return steps(results), err
}

// Status lists all migrations, oldest first. It changes nothing, not even in a database that
// has never seen a migration.
func (m *Migrator) Status(ctx context.Context) ([]Migration, error) {
	var known bool
	if err := m.db.QueryRowContext(ctx, "SELECT pg_catalog.to_regclass($1) IS NOT NULL", m.name+"."+versionTable).Scan(&known); err != nil {
		return nil, fmt.Errorf("migrate: look for the version table: %w", err)
	}
	if !known {
		var pending []Migration
		for _, s := range m.provider.ListSources() {
			pending = append(pending, Migration{Version: s.Version, Name: s.Path})
		}

		return pending, nil
	}

	states, err := m.provider.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	all := make([]Migration, len(states))
	for i, s := range states {
		all[i] = Migration{Version: s.Source.Version, Name: s.Source.Path, AppliedAt: s.AppliedAt}
	}

	return all, nil
}

func (m *Migrator) has(version int64) bool {
	for _, s := range m.provider.ListSources() {
		if s.Version == version {
			return true
		}
	}

	return false
}

// prepare checks the server and creates the schema, which goose needs for its version table. It returns what the
// database holds.
func (m *Migrator) prepare(ctx context.Context) (State, error) {
	var (
		number        int
		encoding      string
		plain, exists bool
	)
	err := m.db.QueryRowContext(ctx,
		`SELECT pg_catalog.current_setting('server_version_num')::integer, pg_catalog.current_setting('server_encoding'), pg_catalog.quote_ident($1) OPERATOR(pg_catalog.=) $1, pg_catalog.to_regnamespace($1) IS NOT NULL`,
		m.name).Scan(&number, &encoding, &plain, &exists)
	if err != nil {
		return State{}, fmt.Errorf("migrate: %w", err)
	}
	if err := checkServer(number); err != nil {
		return State{}, err
	}
	if encoding != "UTF8" {
		return State{}, fmt.Errorf("migrate: %w but %s; create another with: CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'", ErrEncoding, encoding)
	}
	state, err := m.State(ctx)
	switch {
	case err != nil:
		return State{}, err
	case state.Foreign:
		return State{}, fmt.Errorf("migrate: %w, and are at version %d of %d; go on with it (\"idemctl migrate print\" prints the scripts, with --down the way back)", ErrForeign, state.Version, m.Latest())
	case !plain:
		return State{}, fmt.Errorf("migrate: %w %q: it is a reserved word", schema.ErrInvalidName, m.name)
	case exists:
		return state, nil // CREATE SCHEMA IF NOT EXISTS wants the right to create one even then.
	}
	if _, err := m.db.ExecContext(ctx, createSchema(m.name)); err != nil && !lostRace(err) {
		return State{}, fmt.Errorf("migrate: create the schema (or have a role create it that may): %w", err)
	} else if err == nil {
		m.created = true
	}

	return state, nil
}

// checkServer judges a server_version_num.
func checkServer(number int) error {
	if number < schema.MinServerVersion {
		return fmt.Errorf("migrate: %w: it is version %d, version %d or newer is needed",
			ErrServerTooOld, number/10000, schema.MinServerVersion/10000)
	}

	return nil
}

func createSchema(name string) string {
	return "CREATE SCHEMA IF NOT EXISTS " + pgx.Identifier{name}.Sanitize()
}

// lostRace reports whether somebody else created the schema at the same moment, which
// IF NOT EXISTS does not cover: both pass the check, one violates the catalog's unique index.
func lostRace(err error) bool {
	var pgErr *pgconn.PgError

	return errors.As(err, &pgErr) && (pgErr.Code == "23505" || pgErr.Code == "42P06")
}

func steps(results []*goose.MigrationResult) []Migration {
	out := make([]Migration, len(results))
	for i, r := range results {
		out[i] = Migration{Version: r.Source.Version, Name: r.Source.Path}
		if r.Direction == "up" {
			out[i].AppliedAt = time.Now()
		}
	}

	return out
}
