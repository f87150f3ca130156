package cli

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// dropped finds the tables, and the columns of others, that our own SQL removes.
var dropped = regexp.MustCompile(`(?i)\bDROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?(idem\.\w+)`)

// lossWarning says what is lost on the way from one version down to another: the tables, with
// the number of their rows, and the scripts.
func (a *app) lossWarning(ctx context.Context, pool *pgxpool.Pool, to, from int64) (string, error) {
	scripts, err := migrate.Scripts(schema.DefaultName)
	if err != nil {
		return "", err //nolint:wrapcheck // It says all.
	}
	slices.Reverse(scripts)
	var names, tables []string
	for _, script := range scripts {
		digits, _, _ := strings.Cut(script.Name, "_")
		version, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || version <= to || version > from {
			continue
		}
		names = append(names, script.Name)
		for _, match := range dropped.FindAllStringSubmatch(script.Down, -1) {
			table := schema.Qualify(match[1], a.settings.schema)
			var rows int64
			if err := pool.QueryRow(ctx, "SELECT pg_catalog.count(*) FROM "+table).Scan(&rows); err != nil { // Its name is part of our own SQL.
				return "", fmt.Errorf("count the rows that would be lost: %w", err)
			}
			tables = append(tables, fmt.Sprintf("    %s.%s with %s", a.settings.schema, strings.TrimPrefix(match[1], schema.DefaultName+"."), plural(rows, "row")))
		}
	}
	loss := "No table is dropped; \"idemctl migrate print --down\" shows what is."
	if len(tables) > 0 {
		loss = "These tables are dropped, with all that the guard remembers in them:\n" + strings.Join(tables, "\n")
	}
	if to == 0 {
		loss += "\nEvents that are delivered again will then be processed again. Stop the services first: they cannot work without the tables."
	}

	return fmt.Sprintf("Going down from version %d to %d takes back %s.\n%s", from, to, strings.Join(names, ", "), loss), nil
}
