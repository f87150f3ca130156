package cli

import (
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/schema"
)

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of idemctl, of its migrations and of the oldest PostgreSQL",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			r := versionReport{
				Version: a.version(), Go: runtime.Version(), LatestMigration: schema.Version, MinimumPostgreSQL: schema.MinServerVersion / 10000,
			}

			return a.print(r, r.text())
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
