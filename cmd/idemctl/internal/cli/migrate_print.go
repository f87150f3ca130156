package cli

import (
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

func newMigratePrint(a *app) *cobra.Command {
	var (
		down bool
		role string
	)
	command := &cobra.Command{
		Use:   "print",
		Short: "Print the migrations as plain SQL, for another migrator",
		Long: `Prints all migrations as plain SQL, oldest first, for people who bring a migrator of their own.
Scripts that PostgreSQL refuses to run in a transaction are marked. It needs no database.

With --grants it prints instead what a service's role needs, if that is not the role that
migrates; leave out what it is not to do.`,
		Example: `  idemctl migrate print | psql -v ON_ERROR_STOP=1
  idemctl migrate print --down
  idemctl migrate print --grants shop_service | psql -v ON_ERROR_STOP=1`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			switch grants := command.Flags().Changed("grants"); {
			case grants && down:
				return fail(exitUsage, "--down and --grants exclude each other")
			case grants:
				return a.printGrants(role)
			default:
				return a.printMigrations(down)
			}
		},
	}
	command.Flags().BoolVar(&down, "down", false, "print the way back, newest first")
	command.Flags().StringVar(&role, "grants", "", "print the rights that a service with this `ROLE` needs")

	return command
}

type scriptsReport []scriptReport

type scriptReport struct {
	Name               string `json:"name"`
	OutsideTransaction bool   `json:"outside_transaction"`
	SQL                string `json:"sql"`
}

func (r scriptsReport) text() string {
	var b strings.Builder
	for i, s := range r {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString("-- " + s.Name + "\n")
		if s.OutsideTransaction {
			b.WriteString("-- Run this script outside of a transaction: PostgreSQL refuses it inside of one.\n")
		}
		b.WriteString("\n" + s.SQL)
	}

	return b.String()
}

func (a *app) printMigrations(down bool) error {
	scripts, err := migrate.Scripts(a.settings.schema)
	if err != nil {
		return err //nolint:wrapcheck // It says all.
	}
	name := pgx.Identifier{a.settings.schema}.Sanitize()
	r := scriptsReport{{Name: "schema", SQL: "CREATE SCHEMA IF NOT EXISTS " + name + ";\n"}}
	for _, s := range scripts {
		r = append(r, scriptReport{Name: s.Name, OutsideTransaction: s.OutsideTransaction, SQL: s.Up})
	}
	if down {
		r = r[1:] // The schema may hold what is not ours.
		for i, s := range scripts {
			r[i].SQL = s.Down
		}
		slices.Reverse(r)
	}

	return a.print(r)
}

func (a *app) printGrants(role string) error {
	sql, err := schema.Grants(a.settings.schema, role)
	if err != nil {
		return fail(exitUsage, "%w", err)
	}

	return a.print(scriptsReport{{Name: "grants", SQL: sql}})
}
