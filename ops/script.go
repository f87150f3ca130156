package ops

import (
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// Script is plain SQL, for people who bring a migrator of their own.
type Script struct {
	Name string `json:"name"`
	// OutsideTransaction is set where PostgreSQL refuses to run the script in a transaction.
	OutsideTransaction bool   `json:"outside_transaction"`
	SQL                string `json:"sql"`
}

// UpScripts returns what makes the tables in a PostgreSQL schema, oldest first, the schema itself included.
// It needs no database. Errors wrap schema.ErrInvalidName.
func UpScripts(name string) ([]Script, error) {
	migrations, err := migrate.Scripts(name)
	if err != nil {
		return nil, fmt.Errorf("make the scripts: %w", err)
	}
	scripts := []Script{{Name: "schema", SQL: "CREATE SCHEMA IF NOT EXISTS " + pgx.Identifier{name}.Sanitize() + ";\n"}}
	for _, m := range migrations {
		scripts = append(scripts, Script{Name: m.Name, OutsideTransaction: m.OutsideTransaction, SQL: m.Up})
	}

	return scripts, nil
}

// DownScripts returns the way back, newest first. The schema itself stays: it may hold what is not ours.
func DownScripts(name string) ([]Script, error) {
	migrations, err := migrate.Scripts(name)
	if err != nil {
		return nil, fmt.Errorf("make the scripts: %w", err)
	}
	scripts := make([]Script, len(migrations))
	for i, m := range migrations {
		scripts[i] = Script{Name: m.Name, OutsideTransaction: m.OutsideTransaction, SQL: m.Down}
	}
	slices.Reverse(scripts)

	return scripts, nil
}

// GrantScripts returns what gives a role all that a service needs, and no more. Errors wrap ErrInvalid.
func GrantScripts(name, role string) ([]Script, error) {
	sql, err := schema.Grants(name, role)
	if err != nil {
		return nil, invalid("%w", err)
	}

	return []Script{{Name: "grants", SQL: sql}}, nil
}
