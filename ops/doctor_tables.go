package ops

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/schema"
)

func (d *doctor) tableChecks() []check {
	return []check{
		{ids: []string{"schema-version"}, find: d.findVersion},
		{ids: []string{"rights"}, find: d.findRights, tables: true},
		{ids: []string{"row-security"}, find: d.findRowSecurity, tables: true},
		{ids: []string{"owners"}, find: d.findOwners, tables: true},
		{ids: []string{"sequence-behind"}, find: d.findSequences},
		{ids: []string{"cleanup-row"}, find: d.findCleanupRow, tables: true},
	}
}

func (d *doctor) findVersion(ctx context.Context) error {
	const id = "schema-version"
	subject := "schema " + d.schema
	up := "idemctl migrate up" + d.schemaFlag()
	if !d.hasTables() {
		d.add(id, SeverityProblem, subject, "it does not hold the guard's tables", "Create them, or name the right schema (--schema) and the right database.", up)

		return nil
	}
	state, err := d.state(ctx)
	if err != nil {
		return err
	}
	seen := fmt.Sprintf("the tables are at version %d, this release is made for %d", state.Version, schema.Version)
	switch {
	case state.Version == schema.Version:
		d.ok(id, subject, seen)
	case state.Version > schema.Version:
		d.add(id, SeverityWarning, subject, seen, "Use the idemctl of the release that the services run.")
	case state.Foreign || state.Version == 0:
		d.add(id, SeverityProblem, subject, seen, "Another migrator made them: have it apply the newer scripts, which this prints.", "idemctl migrate print"+d.schemaFlag())
	default:
		d.add(id, SeverityProblem, subject, seen, "Migrate them before services of this release start.", up)
	}

	return nil
}

// neededRights are those without which nothing works. A role may be meant to do without the others.
func needed(r db.DoctorMissingRightsRow) bool {
	return r.Relation == "consumers" && r.Privilege == "SELECT" || r.Relation == "processed_events" && r.ColumnName == "" && r.Privilege != "DELETE"
}

func (d *doctor) findRights(ctx context.Context) error {
	var want db.DoctorMissingRightsParams
	want.Schema = d.schema
	for _, r := range schema.Rights() {
		if r.Table != "" {
			want.Relations, want.Columns, want.Privileges = append(want.Relations, r.Table), append(want.Columns, r.Column), append(want.Privileges, r.Privilege)
		}
	}
	missing, err := d.queries.DoctorMissingRights(ctx, d.conn, want)
	if err != nil {
		return err
	}
	usable, err := d.queries.DoctorSchemaUsage(ctx, d.conn, d.schema)
	if err != nil {
		return err
	}
	severity := SeverityWarning
	var lacks []string
	if !usable {
		severity, lacks = SeverityProblem, []string{"USAGE of the schema"}
	}
	for _, r := range missing {
		if needed(r) {
			severity = SeverityProblem
		}
		what := r.Privilege
		if r.ColumnName != "" {
			what += " (" + r.ColumnName + ")"
		}
		lacks = append(lacks, what+" on "+r.Relation)
	}
	if len(lacks) > 0 {
		d.add("rights", severity, "role "+readable.Name(d.server.Role), "it lacks "+strings.Join(lacks, ", "),
			"Give the role the rights, unless it is meant to do without.",
			"idemctl migrate print"+d.schemaFlag()+" --grants "+readable.ShellWord(d.server.Role))
	}

	return nil
}

func (d *doctor) findRowSecurity(context.Context) error {
	for _, t := range d.tables {
		if !t.RowSecurity {
			continue
		}
		severity, seen := SeverityWarning, "row security is on; this role is not subject to it, others may be"
		if t.RowSecurityActive {
			severity, seen = SeverityProblem, "row security is on, and this role is subject to it"
		}
		d.add("row-security", severity, "table "+readable.Name(t.Name), seen, "Switch it off. Give consumers that must not see each other a schema each.",
			"ALTER TABLE "+d.table(t.Name)+" DISABLE ROW LEVEL SECURITY;")
	}

	return nil
}

// findOwners finds what in the schema belongs to another role than the claims do.
func (d *doctor) findOwners(ctx context.Context) error {
	var owner string
	for _, t := range d.tables {
		if t.Name == "processed_events" {
			owner = t.Owner
		}
	}
	all, err := d.queries.DoctorOwners(ctx, d.conn, d.schema)
	if err != nil {
		return err
	}
	for _, o := range all {
		if o.Owner != owner {
			d.add("owners", SeverityWarning, strings.ToLower(o.Kind)+" "+readable.Name(o.Name),
				fmt.Sprintf("it belongs to %s, and the table processed_events to %s", readable.Name(o.Owner), readable.Name(owner)),
				"Give it to the role that migrates.", "ALTER "+o.Kind+" "+name(d.schema)+"."+o.Name+" OWNER TO "+name(owner)+";")
		}
	}
	if len(d.findings) == 0 || d.findings[len(d.findings)-1].ID != "owners" {
		d.ok("owners", "schema "+d.schema, "all in it belongs to "+readable.Name(owner))
	}

	return nil
}

// findSequences finds sequences that are behind their columns, as logical replication leaves them.
func (d *doctor) findSequences(ctx context.Context) error {
	sequences, err := d.queries.DoctorSequences(ctx, d.conn, d.schema)
	if err != nil {
		return err
	}
	for _, s := range sequences {
		sequence := d.table(s.Sequence)
		var last, highest int64
		// The names are the catalog's, so this is no query that could be written beforehand.
		err := d.pool.QueryRow(ctx, "SELECT (SELECT last_value FROM "+sequence+"), coalesce((SELECT pg_catalog.max("+name(s.ColumnName)+") FROM "+
			d.table(s.TableName)+"), 0)", pgx.QueryExecModeSimpleProtocol).Scan(&last, &highest)
		if err != nil {
			return fmt.Errorf("read the sequence %s: %w", readable.Name(s.Sequence), err)
		}
		if last < highest {
			d.add("sequence-behind", SeverityProblem, "sequence "+readable.Name(s.Sequence),
				fmt.Sprintf("it is at %d, and %s.%s has %d already", last, readable.Name(s.TableName), readable.Name(s.ColumnName), highest),
				"Set it to the highest number there is.", fmt.Sprintf("SELECT pg_catalog.setval(%s, %d);", literal(sequence), highest))
		}
	}
	if len(sequences) == 0 {
		d.ok("sequence-behind", "schema "+d.schema, "it has no sequences")
	}

	return nil
}

// findCleanupRow finds that the row is missing which whoever cleans up locks.
func (d *doctor) findCleanupRow(ctx context.Context) error {
	found, err := d.queries.CleanupLeadExists(ctx, d.conn)
	if err == nil && !found {
		d.add("cleanup-row", SeverityProblem, "table cleanup", "its only row is missing", "Put it back, as the role that owns the tables.",
			"INSERT INTO "+d.table("cleanup")+" DEFAULT VALUES;")
	}

	return err
}
