package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of idemctl, of its migrations and of the oldest PostgreSQL",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			latest, err := latestMigration(a.settings.schema)
			if err != nil {
				return err
			}

			return a.print(versionReport{
				Version: a.version(), Go: runtime.Version(), LatestMigration: latest, MinimumPostgreSQL: schema.MinServerVersion / 10000,
			})
		},
	}
}

type versionReport struct {
	Version           string `json:"version"`
	Go                string `json:"go"`
	LatestMigration   int64  `json:"latest_migration"`
	MinimumPostgreSQL int    `json:"minimum_postgresql"`
}

func (r versionReport) text() string {
	return facts(
		[2]string{"idemctl", r.Version},
		[2]string{"go", strings.TrimPrefix(r.Go, "go")},
		[2]string{"latest migration", strconv.FormatInt(r.LatestMigration, 10)},
		[2]string{"minimum PostgreSQL", strconv.Itoa(r.MinimumPostgreSQL)},
	)
}

// version is what was linked in, else what the go command noted: a tag where the program was
// installed from one, and the commit where it was built in a checkout.
func (a *app) version() string {
	if a.Version != "" {
		return a.Version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}

	return info.Main.Version
}

// latestMigration is the newest version that this program can create.
func latestMigration(name string) (int64, error) {
	scripts, err := migrate.Scripts(name)
	if err != nil {
		return 0, err //nolint:wrapcheck // It says all.
	}
	number, _, _ := strings.Cut(scripts[len(scripts)-1].Name, "_")
	latest, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the name of the last migration: %w", err)
	}

	return latest, nil
}
