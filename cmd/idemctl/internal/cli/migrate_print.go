package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/ops"
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
Run each script in one transaction, as psql does with -1: one that is broken off in the middle cannot
be run again. Scripts that PostgreSQL refuses to run in a transaction are marked. It needs no database.

With --grants it prints the rights that a service's role needs, if that is not the role that
migrates. Leave out the rights for what the role must not do.`,
		Example: `  idemctl migrate print | psql -1 -v ON_ERROR_STOP=1
  idemctl migrate print --down
  idemctl migrate print --grants shop_service | psql -1 -v ON_ERROR_STOP=1`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			var scripts []ops.Script
			var err error
			switch grants := command.Flags().Changed("grants"); {
			case grants && down:
				return fail(exitUsage, "--down and --grants exclude each other")
			case grants:
				scripts, err = ops.GrantScripts(a.settings.schema, role)
			case down:
				scripts, err = ops.DownScripts(a.settings.schema)
			default:
				scripts, err = ops.UpScripts(a.settings.schema)
			}
			if err != nil {
				return err
			}

			return a.print(scripts, scriptsText(scripts))
		},
	}
	command.Flags().BoolVar(&down, "down", false, "print the way back, newest first")
	command.Flags().StringVar(&role, "grants", "", "print the rights that a service with this `ROLE` needs")

	return command
}

func scriptsText(r []ops.Script) string {
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
