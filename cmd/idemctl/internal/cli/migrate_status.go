package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

func newMigrateStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "List the migrations and when they were applied",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return a.withPool(command, func(ctx context.Context, pool *pgxpool.Pool) error {
				migrator, done, err := newMigrator(pool, a.settings.schema)
				if err != nil {
					return err
				}
				defer done()
				all, err := migrator.Status(ctx)
				if err != nil {
					return fmt.Errorf("read the schema's version: %w", err)
				}

				state, err := migrator.State(ctx)
				if err != nil {
					return fmt.Errorf("read the schema's version: %w", err)
				}

				return a.print(newMigrationStatus(a.settings.schema, migrator.Latest(), state, all))
			})
		},
	}
}

type migrationStatus struct {
	schemaState

	Schema        string           `json:"schema"`
	Version       int64            `json:"version"`
	LatestVersion int64            `json:"latest_version"` // that this program knows
	Migrations    []migrationState `json:"migrations"`
}

type migrationState struct {
	Version   int64      `json:"version"`
	Name      string     `json:"name"`
	AppliedAt *time.Time `json:"applied_at"` // null if pending
}

func newMigrationStatus(schema string, latest int64, state migrate.State, all []migrate.Migration) migrationStatus {
	r := migrationStatus{
		Schema: schema, Version: state.Version, LatestVersion: latest, schemaState: newSchemaState(state, latest),
		Migrations: make([]migrationState, len(all)),
	}
	for i, m := range all {
		r.Migrations[i] = migrationState{Version: m.Version, Name: m.Name}
		if !m.AppliedAt.IsZero() {
			applied := m.AppliedAt.UTC()
			r.Migrations[i].AppliedAt = &applied
		}
	}

	return r
}

func (r migrationStatus) text() string {
	t := table{columns: []column{{name: "VERSION", number: true}, {name: "APPLIED"}, {name: "NAME"}}}
	for _, m := range r.Migrations {
		applied := "pending"
		switch {
		case m.AppliedAt != nil:
			applied = timestamp(*m.AppliedAt)
		case m.Version <= r.Version:
			applied = "elsewhere"
		}
		t.row(strconv.FormatInt(m.Version, 10), applied, m.Name)
	}
	text := t.String() + fmt.Sprintf("\nThe schema %s is at version %s.\n", r.Schema, r.describe(r.Version, r.LatestVersion))
	switch {
	case r.State != schemaOlder && r.State != schemaMissing:
	case r.Migrator == migratorOther:
		text += "Have that migrator apply the newer scripts of \"idemctl migrate print\".\n"
	default:
		text += "\"idemctl migrate up\" applies what is pending.\n"
	}

	return text
}

// The states of a schema, as JSON has them.
const (
	schemaMissing = "missing"
	schemaOlder   = "older"
	schemaCurrent = "current"
	schemaNewer   = "newer"

	migratorOwn   = "idemctl"
	migratorOther = "other"
)

// schemaState says how the tables' version stands to this program, and who has made them.
type schemaState struct {
	State    string `json:"schema_state"` // missing, older, current or newer
	Migrator string `json:"migrator"`     // idemctl or other
}

func newSchemaState(state migrate.State, latest int64) schemaState {
	s := schemaState{State: schemaCurrent, Migrator: migratorOwn}
	switch {
	case state.Version == 0:
		s.State = schemaMissing
	case state.Version < latest:
		s.State = schemaOlder
	case state.Version > latest:
		s.State = schemaNewer
	}
	if state.Foreign {
		s.Migrator = migratorOther
	}

	return s
}

// describe is a version for people.
func (s schemaState) describe(version, latest int64) string {
	what := "current"
	switch s.State {
	case schemaMissing:
		return "0 (without tables)"
	case schemaOlder:
		what = fmt.Sprintf("older than the %d of this idemctl", latest)
	case schemaNewer:
		what = fmt.Sprintf("newer than the %d that this idemctl knows", latest)
	}
	if s.Migrator == migratorOther {
		what += ", of another migrator"
	}

	return fmt.Sprintf("%d (%s)", version, what)
}
