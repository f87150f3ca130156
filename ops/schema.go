package ops

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// TablesState says how the version of the tables stands to this release.
type TablesState string

// The versions.
const (
	TablesMissing TablesState = "missing" // there are no tables
	TablesOlder   TablesState = "older"
	TablesCurrent TablesState = "current"
	TablesNewer   TablesState = "newer"
)

// Migrator says who has made the tables.
type Migrator string

// Who it was.
const (
	MigratorIdemctl Migrator = "idemctl" // or package schema/migrate
	MigratorOther   Migrator = "other"
)

// SchemaState says how the tables' version stands to this release, and who has made them.
type SchemaState struct {
	State    TablesState `json:"schema_state"`
	Migrator Migrator    `json:"migrator"`
}

func newSchemaState(state migrate.State) SchemaState {
	s := SchemaState{State: TablesCurrent, Migrator: MigratorIdemctl}
	switch {
	case state.Version == 0:
		s.State = TablesMissing
	case state.Version < schema.Version:
		s.State = TablesOlder
	case state.Version > schema.Version:
		s.State = TablesNewer
	}
	if state.Foreign {
		s.Migrator = MigratorOther
	}

	return s
}

// Migrations are the migrations of a schema.
type Migrations struct {
	SchemaState

	Schema        string      `json:"schema"`
	Version       int64       `json:"version"`
	LatestVersion int64       `json:"latest_version"` // that this release knows
	Migrations    []Migration `json:"migrations"`
}

// Migration is one step of the schema.
type Migration struct {
	Version   int64      `json:"version"`
	Name      string     `json:"name"`
	AppliedAt *time.Time `json:"applied_at"` // nil if pending, or applied by another migrator
}

// Migrations returns which migrations the database has. It needs no tables.
func (c *Client) Migrations(ctx context.Context) (Migrations, error) {
	migrator, done, err := c.migrator()
	if err != nil {
		return Migrations{}, err
	}
	defer done()
	all, err := migrator.Status(ctx)
	if err != nil {
		return Migrations{}, fmt.Errorf("read the schema's version: %w", err)
	}
	state, err := migrator.State(ctx)
	if err != nil {
		return Migrations{}, fmt.Errorf("read the schema's version: %w", err)
	}
	r := Migrations{
		Schema: c.schema, Version: state.Version, LatestVersion: migrator.Latest(), SchemaState: newSchemaState(state),
		Migrations: make([]Migration, len(all)),
	}
	for i, m := range all {
		r.Migrations[i] = Migration{Version: m.Version, Name: m.Name}
		if !m.AppliedAt.IsZero() {
			applied := m.AppliedAt.UTC()
			r.Migrations[i].AppliedAt = &applied
		}
	}

	return r, nil
}

// state tells what the database holds.
func (c *Client) state(ctx context.Context) (migrate.State, error) {
	migrator, done, err := c.migrator()
	if err != nil {
		return migrate.State{}, err
	}
	defer done()
	state, err := migrator.State(ctx)
	if err != nil {
		return migrate.State{}, fmt.Errorf("read the schema's version: %w", err)
	}

	return state, nil
}

// migrator returns a migrator on the connections of the pool, and what gives them back.
func (c *Client) migrator() (*migrate.Migrator, func(), error) {
	handle := stdlib.OpenDBFromPool(c.pool)
	migrator, err := migrate.New(handle, c.schema)
	if err != nil {
		_ = handle.Close()

		return nil, nil, err
	}

	return migrator, func() { _ = handle.Close() }, nil
}
