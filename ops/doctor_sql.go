package ops

import "github.com/jackc/pgx/v5"

// name writes an identifier, or one with its schema, as SQL has it.
func name(parts ...string) string { return pgx.Identifier(parts).Sanitize() }

// table is the name of a table of the schema.
func (d *doctor) table(table string) string { return name(d.schema, table) }

// alterSystem sets a setting of the server.
func alterSystem(setting, value string) []string {
	return []string{"ALTER SYSTEM SET " + setting + " = " + value + ";", "SELECT pg_reload_conf();"}
}

// alterRole sets a setting for this role in this database, which goes before all other places but the connection
// string.
func (d *doctor) alterRole(setting, value string) string {
	return "ALTER ROLE " + name(d.server.Role) + " IN DATABASE " + name(d.server.Database) + " SET " + setting + " = " + value + ";"
}
