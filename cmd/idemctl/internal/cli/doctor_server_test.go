package cli

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/ops"
)

func TestDoctorFindsAnotherEncoding(t *testing.T) {
	t.Parallel()
	b := setupEmpty(t)
	ascii := b.db.Name + "_ascii"
	b.exec(t, "CREATE DATABASE "+ascii+" ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
	b.env["IDEM_DATABASE_URL"] = strings.Replace(b.db.DSN, b.db.Name, ascii, 1)
	f := b.must(t, "encoding", ops.SeverityProblem, "its encoding is SQL_ASCII")
	b.take(t, f)
	b.env["IDEM_DATABASE_URL"] = strings.Replace(b.db.DSN, b.db.Name, ascii+"_utf8", 1)
	b.cured(t, f.ID, "")
	b.must(t, "schema-version", ops.SeverityProblem, "does not hold")
	b.must(t, "rights", ops.SeverityUnknown, "the tables are missing")
	b.exec(t, "DROP DATABASE "+ascii+" WITH (FORCE)")
	b.exec(t, "DROP DATABASE "+ascii+"_utf8 WITH (FORCE)")
}

func TestDoctorFindsAStandby(t *testing.T) {
	t.Parallel()
	pair := pgtest.NewPair(t)
	b := newBundle(t, pair.StandbyDB)
	f := b.must(t, "standby", ops.SeverityProblem, "leads to a standby")
	contains(t, f.Next, "target_session_attrs=read-write")
	primary, standby := parse(t, pair.DB.DSN), parse(t, pair.StandbyDB.DSN)
	standby.Host += "," + primary.Host
	standby.RawQuery += "&target_session_attrs=read-write"
	b.env["IDEM_DATABASE_URL"] = standby.String()
	b.cured(t, f.ID, "")
}

func parse(t *testing.T, dsn string) *url.URL {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}

	return u
}

func TestDoctorFindsConnectionsThatOnlyRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "ALTER DATABASE "+b.db.Name+" SET default_transaction_read_only = on")
	b.heal(t, b.must(t, "read-only", ops.SeverityProblem, "is on"))
	sound := b.env["IDEM_DATABASE_URL"]
	b.env["IDEM_DATABASE_URL"] += "&default_transaction_read_only=on"
	f := b.must(t, "read-only", ops.SeverityProblem, "is on")
	contains(t, f.Next, "connection string")
	b.env["IDEM_DATABASE_URL"] = sound
	b.cured(t, f.ID, "")
}

func TestDoctorFindsSettingsThatLoseData(t *testing.T) {
	t.Parallel()
	b := onServer(t, map[string]string{})
	for setting, severity := range map[string]ops.Severity{"fsync": ops.SeverityProblem, "full_page_writes": ops.SeverityProblem, "synchronous_commit": ops.SeverityWarning} {
		b.exec(t, "ALTER SYSTEM SET "+setting+" = off")
		b.exec(t, "SELECT pg_reload_conf()")
		b.heal(t, b.must(t, strings.ReplaceAll(setting, "_", "-")+"-off", severity, setting+" is off"))
	}
}

// ALTER SYSTEM has no effect on what the server's command line says.
func TestDoctorFindsSettingsOfTheCommandLine(t *testing.T) {
	t.Parallel()
	b := onServer(t, map[string]string{"autovacuum": "off", "full_page_writes": "off"})
	for id, setting := range map[string]string{"autovacuum-off": "autovacuum", "full-page-writes-off": "full_page_writes"} {
		f := b.must(t, id, ops.SeverityProblem, setting+" is off")
		contains(t, f.Next, "change -c "+setting+"=… there, and restart the server")
		if len(f.Commands) != 0 {
			t.Errorf("%s: %q", id, f.Commands)
		}
	}
}

func TestDoctorLooksAtStandbys(t *testing.T) {
	t.Parallel()
	pair := pgtest.NewPair(t)
	b := newBundle(t, pair.DB)
	b.heal(t, b.must(t, "standby-asynchronous", ops.SeverityWarning, "standby walreceiver"))
	b.exec(t, "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (nobody)'")
	b.exec(t, "SELECT pg_reload_conf()")
	f := b.must(t, "standby-missing", ops.SeverityProblem, "ANY 1 (nobody)")
	other, committed := connect(t, b.db.DSN), make(chan error, 1)
	go func() {
		_, err := other.Exec(t.Context(), "CREATE ROLE guest") // Its COMMIT waits until the advice is taken.
		committed <- err
	}()
	b.heal(t, f)
	if err := <-committed; err != nil {
		t.Error(err)
	}
}

func TestDoctorSeesWhatPgBouncerDoes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	via := func(mode string) string {
		bouncer, err := pgtest.StartPgBouncerIn(t, b.db, mode)
		if errors.Is(err, pgtest.ErrNoPgBouncer) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}

		return through(t, b.db.DSN, bouncer.Addr)
	}
	b.env["IDEM_DATABASE_URL"] = via("statement")
	f := b.must(t, "pooler-mode", ops.SeverityProblem, "a pooler in statement mode")
	contains(t, f.Next, "pool_mode = transaction")
	transaction := via("transaction")
	b.env["IDEM_DATABASE_URL"] = transaction
	b.cured(t, f.ID, "")
	b.seen(t, "pooler-mode", "a pooler in transaction mode")
	if lost := b.found(t, "prepared-statements"); len(lost) > 0 {
		contains(t, lost[0].Next, "default_query_exec_mode=exec")
		b.env["IDEM_DATABASE_URL"] += "&default_query_exec_mode=exec"
		b.cured(t, "prepared-statements", "")
	} else if bouncer, _ := pgtest.StartPgBouncer(t, b.db); !bouncer.PreparedStatements {
		t.Error("prepared statements that get lost are not found")
	}
	b.env["IDEM_DATABASE_URL"] = via("session")
	b.seen(t, "pooler-mode", "a pooler in session mode")
	b.env["IDEM_DATABASE_URL"] = b.db.DSN
	b.seen(t, "pooler-mode", "PostgreSQL itself")
}

// seen wants the check to be ok and to have seen a text.
func (b *bundle) seen(t *testing.T, id, text string) {
	t.Helper()
	for _, f := range b.diagnose(t).Findings {
		if f.ID == id && (f.Severity != ops.SeverityOK || !strings.Contains(f.Seen, text)) {
			t.Errorf("%+v, want %q", f, text)
		}
	}
}

// through is a connection string that leads to another address.
func through(t *testing.T, dsn string, addr netip.AddrPort) string {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(config.User, config.Password), Host: addr.String(), Path: config.Database, RawQuery: "sslmode=disable"}

	return u.String()
}

func TestDoctorFindsShortLimits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	limits := map[string]string{
		"statement-timeout": "statement_timeout", "lock-timeout": "lock_timeout", "idle-in-transaction-timeout": "idle_in_transaction_session_timeout",
	}
	if b.one(t, "SELECT current_setting('server_version_num')::bigint") >= 170000 {
		limits["transaction-timeout"] = "transaction_timeout"
	}
	for id, setting := range limits {
		b.exec(t, "ALTER DATABASE "+b.db.Name+" SET "+setting+" = '30s'")
		b.heal(t, b.must(t, id, ops.SeverityWarning, setting+" is 30s"))
		sound := b.env["IDEM_DATABASE_URL"]
		b.env["IDEM_DATABASE_URL"] += "&" + setting + "=20000"
		f := b.must(t, id, ops.SeverityWarning, setting+" is 20s")
		contains(t, f.Next, "connection string")
		b.env["IDEM_DATABASE_URL"] = sound
		b.cured(t, id, "")
	}
}

func TestDoctorCountsConnections(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "ALTER DATABASE "+b.db.Name+" CONNECTION LIMIT 8") // Superusers may have more.
	closeAll := b.connections(t, 6)
	f := b.must(t, "connections-used", ops.SeverityWarning, "database "+b.db.Name)
	b.take(t, f)
	closeAll()
	b.cured(t, f.ID, "")

	b.register(t, "orders", "7d")
	b.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, owner_token, owner) SELECT id, 'orders', p, gen_random_uuid(), 'host/1' FROM idem.consumers, generate_series(0, 11) AS p`)
	b.heal(t, b.must(t, "connections-needed", ops.SeverityWarning, "the consumers use up to 13 connections at a time, 13 of them orders, and there are 8"))
}
