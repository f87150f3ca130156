package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

func newMigrate(a *app) *cobra.Command {
	return group("migrate", "Create, change and remove the guard's tables",
		`Creates, changes and removes the guard's tables. The versions are kept in a table of their own
in the guard's schema, apart from any migrator that the service itself uses. Connect to
PostgreSQL itself for it, not to a transaction pooler.`,
		newMigrateUp(a), newMigrateDown(a), newMigrateTo(a), newMigrateStatus(a), newMigratePrint(a))
}

func newMigrateUp(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "up",
		Short: "Apply all migrations that the database lacks",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return a.migrate(command, func(m *migrate.Migrator, _ []migrate.Migration) (int64, error) { return m.Latest(), nil })
		},
	}
}

func newMigrateDown(a *app) *cobra.Command {
	command := &cobra.Command{
		Use:   "down",
		Short: "Take the newest migration back (removes what it created)",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return a.migrate(command, func(_ *migrate.Migrator, all []migrate.Migration) (int64, error) {
				var before int64
				for _, m := range all {
					if m.Version < version(all) {
						before = max(before, m.Version)
					}
				}

				return before, nil
			})
		},
	}
	a.yesFlag(command)

	return command
}

func newMigrateTo(a *app) *cobra.Command {
	command := &cobra.Command{
		Use:   "to VERSION",
		Short: "Migrate up or down to a version (0 removes all tables)",
		Args:  wants("VERSION"),
		RunE: func(command *cobra.Command, args []string) error {
			wanted, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || wanted < 0 {
				return fail(exitUsage, "%q is not a version; \"idemctl migrate status\" lists those that exist", args[0])
			}

			return a.migrate(command, func(_ *migrate.Migrator, all []migrate.Migration) (int64, error) {
				if wanted != 0 && count(all, func(m migrate.Migration) bool { return m.Version == wanted }) == 0 {
					return 0, fail(exitUsage, "there is no version %d; \"idemctl migrate status\" lists those that exist", wanted)
				}

				return wanted, nil
			})
		},
	}
	a.yesFlag(command)

	return command
}

type migrationReport struct {
	Schema   string `json:"schema"`
	Version  int64  `json:"version"`
	Applied  []step `json:"applied"`
	Reverted []step `json:"reverted"`
}

type step struct {
	Version int64  `json:"version"`
	Name    string `json:"name"`
}

func (r migrationReport) text() string {
	var b strings.Builder
	for _, s := range r.Applied {
		b.WriteString("applied   " + s.Name + "\n")
	}
	for _, s := range r.Reverted {
		b.WriteString("reverted  " + s.Name + "\n")
	}
	if b.Len() == 0 {
		return fmt.Sprintf("Nothing to do: the schema %s is at version %d.\n", r.Schema, r.Version)
	}
	fmt.Fprintf(&b, "The schema %s is at version %d.\n", r.Schema, r.Version)

	return b.String()
}

// migrate moves the tables to the version that choose returns, and asks if that loses any.
func (a *app) migrate(command *cobra.Command, choose func(*migrate.Migrator, []migrate.Migration) (int64, error)) error {
	return a.withPool(command, func(ctx context.Context, pool *pgxpool.Pool) error {
		migrator, done, err := newMigrator(pool, a.settings.schema)
		if err != nil {
			return err
		}
		defer done()
		migrator.OnWait(func(holder string) {
			_, _ = fmt.Fprintf(a.Stderr, "waiting for %s …\n", escapeLines(holder))
		})
		all, err := migrator.Status(ctx)
		if err != nil {
			return fmt.Errorf("read the schema's version: %w", err)
		}
		state, err := migrator.State(ctx)
		if err != nil {
			return fmt.Errorf("read the schema's version: %w", err)
		}
		if state.Version > migrator.Latest() {
			return fmt.Errorf("the schema %s is at version %d, newer than the %d that this idemctl knows; use the idemctl that migrated it, or a newer one",
				a.settings.schema, state.Version, migrator.Latest())
		}
		wanted, err := choose(migrator, all)
		if err != nil {
			return err
		}
		current := version(all)
		r := migrationReport{Schema: a.settings.schema, Version: current, Applied: []step{}, Reverted: []step{}}
		if wanted < current {
			warning, err := a.lossWarning(ctx, pool, wanted, current)
			if err != nil {
				return err
			}
			if err := a.confirm(ctx, warning); err != nil {
				return err
			}
		} else if wanted == 0 && current == 0 && !state.Foreign {
			return a.print(r) // Migrating would create the schema.
		}

		taken, err := migrator.To(ctx, wanted)
		for _, m := range taken {
			s := step{Version: m.Version, Name: m.Name}
			if m.AppliedAt.IsZero() {
				r.Reverted = append(r.Reverted, s)
			} else {
				r.Applied = append(r.Applied, s)
			}
		}
		if err != nil && len(taken) == 0 {
			return err //nolint:wrapcheck // It says all.
		}
		if r.Version = wanted; err != nil {
			r.Version = reached(all, taken)
		}

		return a.finish(r, err)
	})
}

// reached is the version after the steps that were taken.
func reached(before, taken []migrate.Migration) int64 {
	after := append([]migrate.Migration{}, before...)
	for i, m := range after {
		for _, s := range taken {
			if s.Version == m.Version {
				after[i] = s
			}
		}
	}

	return version(after)
}
