package ops

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/schema"
)

const (
	off    = "off"
	server = "server" // as a subject

	// clockSkew is how far the clocks of this machine and the server may be apart.
	clockSkew = 5 * time.Second
	// clockSamples is how often the server's clock is read: the fastest answer counts.
	clockSamples = 5
)

// settingNames are those that the checks look at.
var settingNames = []string{
	"fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names", "default_transaction_read_only",
	"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout",
	"autovacuum", "track_counts", "autovacuum_freeze_max_age", "max_connections", "superuser_reserved_connections", "reserved_connections",
}

func (d *doctor) serverChecks() []check {
	return []check{
		{ids: []string{"server-version"}, find: d.findServerVersion},
		{ids: []string{"encoding"}, find: d.findEncoding},
		{ids: []string{"standby", "read-only"}, find: d.findReadOnly},
		{ids: []string{"fsync-off", "full-page-writes-off", "synchronous-commit-off"}, find: d.findDurability},
		{ids: []string{"standby-missing", "standby-asynchronous"}, find: d.findStandbys},
		{ids: []string{"clock"}, find: d.findClock},
	}
}

func (d *doctor) findServerVersion(context.Context) error {
	if d.server.VersionNum < schema.MinServerVersion {
		d.add("server-version", SeverityProblem, server, "PostgreSQL "+d.server.Version,
			fmt.Sprintf("Upgrade the server to PostgreSQL %d or newer.", schema.MinServerVersion/10000))
	} else {
		d.ok("server-version", server, "PostgreSQL "+d.server.Version)
	}

	return nil
}

func (d *doctor) findEncoding(context.Context) error {
	if d.server.Encoding != "UTF8" {
		d.add("encoding", SeverityProblem, "database "+readable.Name(d.server.Database), "its encoding is "+d.server.Encoding,
			"The encoding of a database cannot be changed: create another one for the guard and the business tables, and move there.",
			"CREATE DATABASE "+name(d.server.Database+"_utf8")+" ENCODING 'UTF8' TEMPLATE template0;")
	}

	return nil
}

func (d *doctor) findReadOnly(context.Context) error {
	if d.server.InRecovery {
		d.add("standby", SeverityProblem, "connection", "it leads to a standby",
			"Name the primary in the connection string, or all servers with target_session_attrs=read-write.")
	}
	s := d.settings["default_transaction_read_only"]
	switch {
	case s.Setting != "on":
	case s.Source == fromClient:
		d.add("read-only", SeverityProblem, "connection", "default_transaction_read_only is on", "Leave it out of the connection string, and out of PGOPTIONS.")
	default:
		d.add("read-only", SeverityProblem, "connection", "default_transaction_read_only is on", "Switch it off for the role, and connect again.",
			d.alterRole("default_transaction_read_only", off))
	}

	return nil
}

func (d *doctor) findDurability(context.Context) error {
	if d.settings["fsync"].Setting == off {
		d.addSetting("fsync-off", "fsync is off", "Switch it on.", "fsync", "on")
	}
	if d.settings["full_page_writes"].Setting == off {
		d.addSetting("full-page-writes-off", "full_page_writes is off",
			"Switch it on, unless the file system never writes a part of a page, as ZFS does.", "full_page_writes", "on")
	}
	const commit = "synchronous_commit"
	switch s := d.settings[commit]; {
	case s.Setting == off:
		d.add("synchronous-commit-off", SeverityWarning, "role "+readable.Name(d.server.Role), "synchronous_commit is off",
			"Switch it on for the role, unless that is the intention, and connect again.", d.alterRole(commit, "on"))
	case s.Setting == "local" && d.settings["synchronous_standby_names"].Setting != "":
		d.add("synchronous-commit-off", SeverityWarning, "role "+readable.Name(d.server.Role), "synchronous_commit is local: no COMMIT waits for a standby",
			"Switch it on for the role, unless that is the intention, and connect again.", d.alterRole(commit, "on"))
	}

	return nil
}

// findStandbys looks at those that receive the log. What counts is whether a COMMIT waits for one.
func (d *doctor) findStandbys(ctx context.Context) error {
	standbys, err := d.queries.DoctorStandbys(ctx, d.conn)
	if err != nil {
		return err
	}
	names := d.settings["synchronous_standby_names"].Setting
	hidden := slices.ContainsFunc(standbys, func(s db.DoctorStandbysRow) bool { return s.State == "" })
	synchronous := slices.ContainsFunc(standbys, func(s db.DoctorStandbysRow) bool { return s.SyncState == "sync" || s.SyncState == "quorum" })
	var all []string
	for _, s := range standbys {
		all = append(all, readable.Name(s.Application))
	}
	switch {
	case names == "" && len(standbys) > 0:
		next, commands := d.alterSystem("Decide whether a COMMIT is to wait for a standby. With one standby alone, all writing then stops while that is away.",
			"synchronous_standby_names", "'ANY 1 (*)'")
		d.add("standby-asynchronous", SeverityWarning, "standby "+strings.Join(all, ", "), "synchronous_standby_names is empty: no COMMIT waits for a standby", next, commands...)
	case names == "" || synchronous:
	case hidden:
		d.add("standby-missing", SeverityUnknown, server, "whether a standby is synchronous is hidden from this role", "Run it as a member of pg_monitor.",
			"GRANT pg_monitor TO "+name(d.server.Role)+";")
	default:
		d.addSetting("standby-missing", "synchronous_standby_names is "+readable.Name(names)+", and no such standby is connected",
			"Bring the standby back, or have no COMMIT wait for it.", "synchronous_standby_names", "''")
	}

	return nil
}

// findClock compares the server's clock with this machine's. The server's was read between two readings of
// ours, so half of the time between them is what is not known.
func (d *doctor) findClock(ctx context.Context) error {
	var offset time.Duration
	fastest := time.Duration(-1)
	for range clockSamples {
		began, before := time.Now(), d.opts.Clock()
		row, err := d.queries.DoctorServer(ctx, d.conn)
		if err != nil {
			return err
		}
		if took := time.Since(began); fastest < 0 || took < fastest {
			fastest, offset = took, time.UnixMicro(row.ClockMicros).Sub(before.Add(took/2))
		}
	}
	way := "ahead of"
	if offset < 0 {
		way = "behind"
	}
	if offset.Abs()-fastest/2 > clockSkew {
		d.add("clock", SeverityWarning, "this machine", fmt.Sprintf("the server's clock is %v %s this machine's", offset.Abs().Round(100*time.Millisecond), way),
			"Find out which clock is wrong (\"timedatectl\" tells on most machines), and have it synchronized by NTP.")
	}

	return nil
}
