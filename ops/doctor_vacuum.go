package ops

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/readable"
)

const (
	// alarmingAge is from when on a server is on its way to take no more writes, which it does at about
	// 2,100 million transactions.
	alarmingAge = 1_200_000_000

	// Of what autovacuum_freeze_max_age allows. Beyond 100 % autovacuum comes whatever else it has to do.
	overduePercent = 110
)

func (d *doctor) vacuumChecks() []check {
	return []check{
		{ids: []string{"autovacuum-off"}, find: d.findAutovacuum},
		{ids: []string{"dead-rows"}, find: d.findDeadRows, tables: true},
		{ids: []string{"wraparound"}, find: d.findWraparound},
		{ids: []string{"long-transaction"}, find: d.findTransactions},
		{ids: []string{"replication-slot"}, find: d.findSlots},
	}
}

func (d *doctor) findAutovacuum(context.Context) error {
	for _, setting := range []string{"autovacuum", "track_counts"} {
		if d.settings[setting].Setting == off {
			d.addSetting("autovacuum-off", setting+" is off", "Switch it on.", setting, "on")
		}
	}
	for _, t := range d.tables {
		if slices.ContainsFunc(t.Options, switchesOff) {
			d.add("autovacuum-off", SeverityProblem, "table "+readable.Name(t.Name), "autovacuum_enabled is off for it", "Switch it on.",
				"ALTER TABLE "+d.table(t.Name)+" RESET (autovacuum_enabled);")
		}
	}

	return nil
}

// switchesOff reports whether an option of a table switches autovacuum off, however that is written.
func switchesOff(option string) bool {
	value, found := strings.CutPrefix(option, "autovacuum_enabled=")
	if !found {
		return false
	}
	on, err := strconv.ParseBool(value)

	return err == nil && !on || slices.Contains([]string{"off", "no", "n"}, value)
}

// findDeadRows finds tables that vacuum does not keep up with.
func (d *doctor) findDeadRows(context.Context) error {
	for _, t := range d.tables {
		h := TableHealth{
			LiveRows: t.LiveRows, DeadRows: t.DeadRows, LastVacuum: unless(0, t.LastVacuumMicros), LastAutovacuum: unless(0, t.LastAutovacuumMicros),
		}
		now, last := utc(t.ReadMicros), h.Vacuumed()
		subject, vacuum := "table "+readable.Name(t.Name), "VACUUM "+d.table(t.Name)+";"
		switch {
		case !h.manyDead():
		case last.IsZero() || now.Sub(last) > unvacuumed:
			d.add("dead-rows", SeverityWarning, subject, fmt.Sprintf("%s dead rows (%d%%), %s", readable.Number(t.DeadRows), h.DeadPercent(), sinceVacuum(last, now)),
				"See above whether autovacuum is off; give it more workers (autovacuum_max_workers) or less rest (autovacuum_vacuum_cost_delay). Vacuum by hand now.", vacuum)
		case h.DeadPercent() >= 50:
			d.add("dead-rows", SeverityWarning, subject, fmt.Sprintf("%s dead rows (%d%%), although a vacuum ended %s", readable.Number(t.DeadRows), h.DeadPercent(), readable.Ago(last, now)),
				"Something keeps vacuum from removing them: see long-transaction and replication-slot. End it, and vacuum by hand.", vacuum)
		}
	}

	return nil
}

// findWraparound finds what has not been frozen for too many transactions.
func (d *doctor) findWraparound(ctx context.Context) error {
	allowed, err := strconv.ParseInt(d.settings["autovacuum_freeze_max_age"].Setting, 10, 64)
	if err != nil {
		return invalid("autovacuum_freeze_max_age is %q", d.settings["autovacuum_freeze_max_age"].Setting)
	}
	tell := func(subject string, age int64, command string) {
		severity := SeverityWarning
		if age > alarmingAge {
			severity = SeverityProblem
		}
		if 100*age > overduePercent*allowed {
			d.add("wraparound", severity, subject,
				fmt.Sprintf("it has not been frozen for %s transactions, and autovacuum should have come at %s", readable.Number(age), readable.Number(allowed)),
				"End what keeps vacuum from it (see long-transaction and replication-slot), then freeze by hand.", command)
		}
	}
	for _, t := range d.tables {
		tell("table "+readable.Name(t.Name), t.FrozenAge, "VACUUM (FREEZE) "+d.table(t.Name)+";")
	}
	age, err := d.queries.DoctorDatabaseAge(ctx, d.conn)
	if err == nil {
		tell("database "+readable.Name(d.server.Database), age, "VACUUM (FREEZE);")
	}

	return err
}

// findTransactions finds what keeps vacuum from removing rows, and others from events and partitions.
func (d *doctor) findTransactions(ctx context.Context) error {
	const id = "long-transaction"
	sessions, err := d.queries.DoctorTransactions(ctx, d.conn, d.opts.LongTransaction.Seconds())
	if err != nil {
		return err
	}
	for _, s := range sessions {
		d.add(id, SeverityWarning, "session "+decimal(s.Pid),
			fmt.Sprintf("%s of %s: in a transaction for %s, %s", optionalName(s.Application), readable.Name(s.Role), rough(s.Seconds), readable.Name(s.State)),
			"Find out what it does (pg_stat_activity); end it if nobody needs it.", fmt.Sprintf("SELECT pg_terminate_backend(%d);", s.Pid))
	}
	prepared, err := d.queries.DoctorPrepared(ctx, d.conn, d.opts.LongTransaction.Seconds())
	if err != nil {
		return err
	}
	for _, x := range prepared {
		d.add(id, SeverityWarning, "prepared transaction "+readable.Name(x.Gid), fmt.Sprintf("%s prepared it %s ago", readable.Name(x.Owner), rough(x.Seconds)),
			"Ask its transaction manager whether it is to be committed; else roll it back.", "ROLLBACK PREPARED "+literal(x.Gid)+";")
	}
	hidden, err := d.queries.DoctorHiddenSessions(ctx, d.conn)
	if err == nil && hidden > 0 {
		d.add(id, SeverityUnknown, readable.Plural(hidden, "session"), "their transactions are hidden from this role", "Run it as a member of pg_monitor.",
			"GRANT pg_monitor TO "+name(d.server.Role)+";")
	}

	return err
}

func (d *doctor) findSlots(ctx context.Context) error {
	slots, err := d.queries.DoctorSlots(ctx, d.conn)
	if err != nil {
		return err
	}
	for _, s := range slots {
		kept := "nobody uses it"
		if s.KeptBytes >= 0 {
			kept += ", and it keeps " + readable.Size(s.KeptBytes) + " of the log"
		}
		d.add("replication-slot", SeverityWarning, s.Kind+" slot "+readable.Name(s.Slot), kept,
			"Start its standby or subscriber again. If that is gone for good, drop the slot.", "SELECT pg_drop_replication_slot("+literal(s.Slot)+");")
	}

	return nil
}

func rough(seconds int64) string { return readable.Rough(time.Duration(seconds) * time.Second) }

func decimal[N int32 | int64](n N) string { return strconv.FormatInt(int64(n), 10) }

// optionalName is a name that may be missing.
func optionalName(text string) string {
	if text == "" {
		return "a session"
	}

	return readable.Name(text)
}
