package ops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// Severity says how bad a finding is.
type Severity string

// The severities, the best first.
const (
	SeverityOK      Severity = "ok"
	SeverityUnknown Severity = "unknown" // the check could not be made
	SeverityWarning Severity = "warning" // something can go wrong, or is slower than need be
	SeverityProblem Severity = "problem" // something goes wrong, or data can be lost
)

// severities are in the order of what is worse.
var severities = []Severity{SeverityOK, SeverityUnknown, SeverityWarning, SeverityProblem}

// worse compares severities.
func worse(a, b Severity) int {
	return cmp.Compare(slices.Index(severities, a), slices.Index(severities, b))
}

// Finding is what one check has found about one subject.
type Finding struct {
	ID       string   `json:"id"` // of the check; stable
	Severity Severity `json:"severity"`
	Subject  string   `json:"subject"` // a consumer, a table, "server", …
	Seen     string   `json:"seen"`
	Why      string   `json:"why"`      // why it matters; empty if ok
	Next     string   `json:"next"`     // what to do; empty if ok
	Commands []string `json:"commands"` // those that end in a semicolon are for psql, others for a shell
	Runbook  string   `json:"runbook"`  // the section that says more
}

// Diagnosis is what all checks have found: a finding at least for each, in a fixed order.
type Diagnosis struct {
	Verdict   Severity  `json:"verdict"` // the worst of the findings
	Schema    string    `json:"schema"`
	CheckedAt time.Time `json:"checked_at"`
	Findings  []Finding `json:"findings"`
}

// DoctorOptions change Diagnose. The zero value has defaults.
type DoctorOptions struct {
	// Quiet is how long a consumer may process nothing before that is reported. Default 7 days.
	Quiet time.Duration

	// LongTransaction is how long a transaction may be open before that is reported. Default 1
	// hour.
	LongTransaction time.Duration

	// Unused is how many bytes of processed_events must be dead rows and free space before that is reported. Default
	// 1 GiB.
	Unused int64

	// Kafka looks at the cluster. Nil: only PostgreSQL is checked.
	Kafka Kafka

	// Watch is how long a checkpoint may stand still while records wait before that is reported. Only with
	// Kafka. Default 5 s.
	Watch time.Duration

	// Clock returns this machine's time. Default time.Now.
	Clock func() time.Time
}

func (o DoctorOptions) withDefaults() DoctorOptions {
	o.Quiet = cmp.Or(o.Quiet, 7*readable.Day)
	o.LongTransaction = cmp.Or(o.LongTransaction, time.Hour)
	o.Unused = cmp.Or(o.Unused, littleUnused)
	o.Watch = cmp.Or(o.Watch, DefaultWatch)
	if o.Clock == nil {
		o.Clock = time.Now
	}

	return o
}

// Diagnose looks for what is wrong with the tables, the server, the connections that the pool makes and, with
// DoctorOptions.Kafka, the groups of the consumers. It changes nothing. It sees what the role of the pool may see; a
// check that the role may not make is a finding of SeverityUnknown. Call it with a service's pool to check that
// service's rights and limits, and as a member of pg_monitor to see everything. It makes up to four connections of
// its own, as the pool would make them. It returns an error only if an option is negative (ErrInvalid), the database
// cannot be reached, or ctx ends.
func (c *Client) Diagnose(ctx context.Context, opts DoctorOptions) (Diagnosis, error) {
	if opts.Quiet < 0 || opts.LongTransaction < 0 || opts.Unused < 0 || opts.Watch < 0 {
		return Diagnosis{}, invalid("an option is negative")
	}
	pool, err := unpreparedPool(ctx, c.pool)
	if err != nil {
		return Diagnosis{}, err
	}
	defer pool.Close()
	own, err := New(pool, Config{Schema: c.schema, Logger: c.log})
	if err != nil {
		return Diagnosis{}, err
	}
	d := &doctor{Client: own, mode: c.pool.Config().ConnConfig.DefaultQueryExecMode, opts: opts.withDefaults(), runbook: runbook()}
	if err := d.look(ctx); err != nil {
		return Diagnosis{}, err
	}
	for _, check := range d.checks() {
		if err := d.make(ctx, check); err != nil {
			return Diagnosis{}, err
		}
	}
	result := Diagnosis{Verdict: SeverityOK, Schema: c.schema, CheckedAt: d.opts.Clock().UTC(), Findings: d.findings}
	for _, f := range d.findings {
		if worse(f.Severity, result.Verdict) > 0 {
			result.Verdict = f.Severity
		}
	}

	return result, nil
}

// unpreparedPool returns a pool of two connections like those of another one, over which no statement is prepared: it
// works behind each pooler.
func unpreparedPool(ctx context.Context, like *pgxpool.Pool) (*pgxpool.Pool, error) {
	config := like.Config()
	config.MaxConns, config.MinConns, config.MinIdleConns = 2, 0, 0
	if config.ConnConfig.DefaultQueryExecMode != pgx.QueryExecModeSimpleProtocol {
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("make a connection pool: %w", err)
	}

	return pool, nil
}

// doctor makes the checks.
type doctor struct {
	*Client

	mode     pgx.QueryExecMode // of the pool that is examined
	opts     DoctorOptions
	runbook  map[string]section
	findings []Finding

	// What several checks look at.
	server   db.DoctorServerRow
	settings map[string]db.DoctorSettingsRow
	tables   []db.DoctorTablesRow
	kafka    *kafkaSeen // nil: not known, for the reason of kafkaErr
	kafkaErr error
	claims   map[string]bool // whether a consumer remembers event ids; set by findEvents
}

// check finds something of certain ids. Of those of which it finds nothing all is well.
type check struct {
	ids  []string
	find func(ctx context.Context) error
	// tables is set if it reads the guard's tables.
	tables bool
}

// look reads what several checks look at.
func (d *doctor) look(ctx context.Context) (err error) {
	if d.server, err = d.queries.DoctorServer(ctx, d.conn); err != nil {
		return d.failed(ctx, "ask the server", err)
	}
	rows, err := d.queries.DoctorSettings(ctx, d.conn, settingNames)
	if err != nil {
		return d.failed(ctx, "read the server's settings", err)
	}
	d.settings = make(map[string]db.DoctorSettingsRow, len(rows))
	for _, row := range rows {
		d.settings[row.Name] = row
	}
	if d.tables, err = d.queries.DoctorTables(ctx, d.conn, d.schema); err != nil {
		return d.failed(ctx, "look for the tables", err)
	}
	if err := d.lookAtKafka(ctx); err != nil {
		if ctx.Err() != nil || !told(err) {
			return err
		}
		d.kafkaErr = err
	}

	return nil
}

// make makes a check. What it could not find out is told.
func (d *doctor) make(ctx context.Context, c check) error {
	from := len(d.findings)
	var err error
	if c.tables && !d.hasTables() {
		err = refuse(ErrInvalid, "the tables are missing")
	} else {
		err = c.find(ctx)
	}
	if err != nil && (ctx.Err() != nil || !told(err)) {
		return err
	}
	for _, id := range c.ids {
		if slices.ContainsFunc(d.findings[from:], func(f Finding) bool { return f.ID == id }) {
			continue
		}
		if err != nil {
			d.add(id, SeverityUnknown, "check", "it could not be made: "+err.Error(), nextUnknown(err))
		} else {
			d.ok(id, "all", d.runbook[id].fine)
		}
	}

	return nil
}

// told reports whether an error is the server's answer, or a reason of our own, and no lost connection.
func told(err error) bool {
	var pgErr *pgconn.PgError

	return errors.As(err, &pgErr) && !strings.HasPrefix(pgErr.Code, "57P") || errors.Is(err, ErrInvalid)
}

func nextUnknown(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == insufficientPrivilege {
		return "Run it as a role that has the rights, as a member of pg_monitor for instance."
	}

	return "Remove the reason, and run it again."
}

const insufficientPrivilege = "42501"

// add adds a finding that is not ok. Commands are what to type.
func (d *doctor) add(id string, severity Severity, subject, seen, next string, commands ...string) {
	if commands == nil {
		commands = []string{}
	}
	d.findings = append(d.findings, Finding{
		ID: id, Severity: severity, Subject: subject, Seen: seen, Why: d.runbook[id].why, Next: next, Commands: commands, Runbook: runbookOf(id),
	})
}

func (d *doctor) ok(id, subject, seen string) {
	d.findings = append(d.findings, Finding{ID: id, Severity: SeverityOK, Subject: subject, Seen: seen, Commands: []string{}, Runbook: runbookOf(id)})
}

func runbookOf(id string) string { return "docs/operations.md#" + id }

// checks are all checks in the order of their findings.
func (d *doctor) checks() []check {
	return slices.Concat(d.serverChecks(), d.sessionChecks(), d.tableChecks(), d.vacuumChecks(), d.consumerChecks(), d.kafkaChecks())
}

// hasTables reports whether the schema holds the guard's tables.
func (d *doctor) hasTables() bool {
	return slices.ContainsFunc(d.tables, func(t db.DoctorTablesRow) bool { return t.Name == "processed_events" })
}
