package ops

import "github.com/jackc/pgx/v5"

// name writes an identifier, or one with its schema, as SQL has it.
func name(parts ...string) string { return pgx.Identifier(parts).Sanitize() }

// table is the name of a table of the schema.
func (d *doctor) table(table string) string { return name(d.schema, table) }

// fromCommandLine is the source of a setting that the server was started with.
const fromCommandLine = "command line"

// alterSystem completes the advice to change a setting of the server: by which commands, or where ALTER SYSTEM has no
// effect, what to do instead.
func (d *doctor) alterSystem(next, setting, value string) (_ string, commands []string) {
	if d.settings[setting].Source == fromCommandLine {
		return next + " The server was started with it on its command line, where ALTER SYSTEM has no effect: change -c " + setting + "=… there, and restart the server.", nil
	}

	return next, []string{"ALTER SYSTEM SET " + setting + " = " + value + ";", "SELECT pg_reload_conf();"}
}

// addSetting adds a problem of the server that another value of a setting mends.
func (d *doctor) addSetting(id, seen, next, setting, value string) {
	next, commands := d.alterSystem(next, setting, value)
	d.add(id, SeverityProblem, server, seen, next, commands...)
}

// alterRole sets a setting for this role in this database, which goes before all other places but the connection
// string.
func (d *doctor) alterRole(setting, value string) string {
	return "ALTER ROLE " + name(d.server.Role) + " IN DATABASE " + name(d.server.Database) + " SET " + setting + " = " + value + ";"
}
