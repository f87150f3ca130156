package ops

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// MigrationPlan says what a migration to another version would do.
type MigrationPlan struct {
	Schema string `json:"schema"`
	From   int64  `json:"from_version"`
	To     int64  `json:"to_version"`
	// Reverts are the migrations that would be taken back, newest first.
	Reverts []string `json:"reverts"`
	// Loses are the tables that would be dropped.
	Loses []LostTable `json:"loses"`
}

// LostTable is a table that a migration drops, with all that the guard remembers in it.
type LostTable struct {
	Table string `json:"table"` // with its schema
	Rows  int64  `json:"rows"`
}

// PlanMigration says what a migration to a version would do; 0 removes all tables. It reads the rows of tables
// that would be dropped. Errors wrap ErrNewer, and ErrInvalid if there is no such version.
func (c *Client) PlanMigration(ctx context.Context, to int64) (MigrationPlan, error) {
	plan := MigrationPlan{Schema: c.schema, To: to, Reverts: []string{}, Loses: []LostTable{}}
	all, err := c.Migrations(ctx)
	if err != nil {
		return plan, err
	}
	if all.State == TablesNewer {
		return plan, refuse(ErrNewer, "the schema %s is at version %d, newer than the %d that this release knows; use the release that migrated it, or a newer one",
			c.schema, all.Version, all.LatestVersion)
	}
	if to != 0 && !slices.ContainsFunc(all.Migrations, func(m Migration) bool { return m.Version == to }) {
		return plan, invalid("there is no version %d; \"idemctl migrate status\" lists those that exist", to)
	}
	plan.From = all.Applied()

	return plan, c.losses(ctx, &plan)
}

// Applied is the newest version that this migrator has applied, 0 if none.
func (m Migrations) Applied() (newest int64) {
	for _, one := range m.Migrations {
		if one.AppliedAt != nil {
			newest = max(newest, one.Version)
		}
	}

	return newest
}

// Before is the version before the newest that this migrator has applied.
func (m Migrations) Before() (before int64) {
	for _, one := range m.Migrations {
		if one.Version < m.Applied() {
			before = max(before, one.Version)
		}
	}

	return before
}

// dropped finds the tables, and the columns of others, that our own SQL removes.
var dropped = regexp.MustCompile(`(?i)\bDROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?(idem\.\w+)`)

// losses fills in what a plan takes back.
func (c *Client) losses(ctx context.Context, plan *MigrationPlan) error {
	scripts, err := migrate.Scripts(schema.DefaultName)
	if err != nil {
		return err
	}
	slices.Reverse(scripts)
	for _, script := range scripts {
		digits, _, _ := strings.Cut(script.Name, "_")
		version, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || version <= plan.To || version > plan.From {
			continue
		}
		plan.Reverts = append(plan.Reverts, script.Name)
		for _, match := range dropped.FindAllStringSubmatch(script.Down, -1) {
			lost := LostTable{Table: c.schema + "." + strings.TrimPrefix(match[1], schema.DefaultName+".")}
			count := schema.Qualify("SELECT pg_catalog.count(*) FROM "+match[1], c.schema) // The name is part of our own SQL.
			if err := c.pool.QueryRow(ctx, count).Scan(&lost.Rows); err != nil {
				return fmt.Errorf("count the rows that would be lost: %w", err)
			}
			plan.Loses = append(plan.Loses, lost)
		}
	}

	return nil
}

// MigrateResult says which migrations were applied or taken back.
type MigrateResult struct {
	Schema        string          `json:"schema"`
	SchemaCreated bool            `json:"schema_created"` // it was not there
	Version       int64           `json:"version"`
	Applied       []MigrationStep `json:"applied"`
	Reverted      []MigrationStep `json:"reverted"`
}

// MigrationStep is one of them.
type MigrationStep struct {
	Version int64  `json:"version"`
	Name    string `json:"name"`
}

// Migrate moves the tables to the version of a plan. When it waits for another migration, it calls waiting
// from another goroutine with the name of the session; waiting may be nil. Errors are those of package
// migrate, and ErrChanged if more would be taken back than the plan says, because somebody has migrated the tables since. If some steps were taken before an error, they are returned with it, and stay taken.
func (c *Client) Migrate(ctx context.Context, plan MigrationPlan, waiting func(holder string)) (MigrateResult, error) {
	before, err := c.Migrations(ctx)
	if err != nil {
		return MigrateResult{}, err
	}
	r := MigrateResult{Schema: c.schema, Version: before.Applied(), Applied: []MigrationStep{}, Reverted: []MigrationStep{}}
	if plan.To == 0 && before.State == TablesMissing && r.Version == 0 {
		return r, nil // Migrating would create the schema.
	}
	if plan.To < r.Version && plan.From < r.Version {
		return MigrateResult{}, refuse(ErrChanged, "somebody has migrated the schema %s to version %d meanwhile; nothing was changed", c.schema, r.Version)
	}
	migrator, done, err := c.migrator()
	if err != nil {
		return MigrateResult{}, err
	}
	defer done()
	if waiting != nil {
		migrator.OnWait(waiting)
	}
	taken, err := migrator.To(ctx, plan.To)
	r.SchemaCreated = migrator.CreatedSchema()
	if err != nil && len(taken) == 0 {
		return MigrateResult{}, err
	}
	for _, m := range taken {
		step := MigrationStep{Version: m.Version, Name: m.Name}
		if m.AppliedAt.IsZero() {
			r.Reverted = append(r.Reverted, step)
		} else {
			r.Applied = append(r.Applied, step)
		}
	}
	if r.Version = plan.To; err != nil {
		r.Version = reached(before.Migrations, taken)
	}

	return r, err
}

// reached is the version after the steps that were taken.
func reached(before []Migration, taken []migrate.Migration) int64 {
	after := Migrations{Migrations: slices.Clone(before)}
	for i := range after.Migrations {
		m := &after.Migrations[i]
		for _, step := range taken {
			if step.Version != m.Version {
				continue
			}
			m.AppliedAt = nil
			if !step.AppliedAt.IsZero() {
				m.AppliedAt = &step.AppliedAt
			}
		}
	}

	return after.Applied()
}
