package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
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
		Long: `Applies all migrations that the database lacks. If --schema names a schema that is not there, it is
created, and the output says so.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return a.migrate(command, func(m ops.Migrations) int64 { return m.LatestVersion })
		},
	}
}

func newMigrateDown(a *app) *cobra.Command {
	command := &cobra.Command{
		Use:   "down",
		Short: "Revert the newest migration (removes what it created)",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return a.migrate(command, ops.Migrations.Before)
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

			return a.migrate(command, func(ops.Migrations) int64 { return wanted })
		},
	}
	a.yesFlag(command)

	return command
}

// migrate moves the tables to the version that choose returns, and asks if that loses any.
func (a *app) migrate(command *cobra.Command, choose func(ops.Migrations) int64) error {
	return a.withClient(command, func(ctx context.Context, c *ops.Client) error {
		all, err := c.Migrations(ctx)
		if err != nil {
			return err
		}
		plan, err := c.PlanMigration(ctx, choose(all))
		if err != nil {
			return err
		}
		if plan.To < plan.From {
			if err := a.confirm(ctx, lossWarning(plan)); err != nil {
				return err
			}
		}
		r, err := c.Migrate(ctx, plan, func(holder string) {
			_, _ = fmt.Fprintf(a.Stderr, "waiting for %s …\n", escapeLines(holder))
		})

		return a.finish(r, migrationText(r), err)
	})
}

func migrationText(r ops.MigrateResult) string {
	var b strings.Builder
	if r.SchemaCreated {
		b.WriteString("created   schema " + r.Schema + "\n")
	}
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

// lossWarning says what is lost on the way from one version down to another: the tables, with
// the number of their rows, and the scripts.
func lossWarning(plan ops.MigrationPlan) string {
	loss := "No table is dropped; \"idemctl migrate print --down\" shows what is."
	if len(plan.Loses) > 0 {
		tables := []string{"These tables are dropped, with all that the guard remembers in them:"}
		for _, lost := range plan.Loses {
			tables = append(tables, "    "+lost.Table+" with "+readable.Plural(lost.Rows, "row"))
		}
		loss = lines(tables...)
	}
	if plan.To == 0 {
		loss += "\nEvents that are delivered again will then be processed again. Stop the services first: they cannot work without the tables."
	}

	return fmt.Sprintf("Going down from version %d to %d takes back %s.\n%s", plan.From, plan.To, strings.Join(plan.Reverts, ", "), loss)
}
