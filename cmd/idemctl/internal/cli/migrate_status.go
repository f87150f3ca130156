package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newMigrateStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "List the migrations and when they were applied",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return a.withClient(command, func(ctx context.Context, c *ops.Client) error {
				all, err := c.Migrations(ctx)
				if err != nil {
					return err
				}

				return a.print(all, migrationsText(all))
			})
		},
	}
}

func migrationsText(r ops.Migrations) string {
	t := table{columns: []column{{name: "VERSION", number: true}, {name: "APPLIED"}, {name: "NAME"}}}
	for _, m := range r.Migrations {
		applied := "pending"
		switch {
		case m.AppliedAt != nil:
			applied = readable.Timestamp(*m.AppliedAt)
		case m.Version <= r.Version:
			applied = "elsewhere"
		}
		t.row(strconv.FormatInt(m.Version, 10), applied, m.Name)
	}
	text := t.String() + fmt.Sprintf("\nThe schema %s is at version %s.\n", r.Schema, describe(r.SchemaState, r.Version, r.LatestVersion))
	switch {
	case r.State != ops.TablesOlder && r.State != ops.TablesMissing:
	case r.Migrator == ops.MigratorOther:
		text += "Have that migrator apply the newer scripts of \"idemctl migrate print\".\n"
	default:
		text += "\"idemctl migrate up\" applies what is pending.\n"
	}

	return text
}

// describe is a version for people.
func describe(s ops.SchemaState, version, latest int64) string {
	what := "current"
	switch s.State {
	case ops.TablesMissing:
		return "0 (without tables)"
	case ops.TablesOlder:
		what = fmt.Sprintf("older than the %d of this idemctl", latest)
	case ops.TablesCurrent:
	case ops.TablesNewer:
		what = fmt.Sprintf("newer than the %d that this idemctl knows", latest)
	}
	if s.Migrator == ops.MigratorOther {
		what += ", of another migrator"
	}

	return fmt.Sprintf("%d (%s)", version, what)
}
