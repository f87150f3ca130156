package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/lease"
	"github.com/nova-events/idempotent-consumer/ops"
)

// The databases differ in the consumer that they know, which tells where the program went.
func TestDatabaseURLPrecedence(t *testing.T) {
	t.Parallel()
	var dsn [3]string
	names := []string{"by-flag", "by-idem-variable", "by-variable"}
	for i, name := range names {
		b := setup(t)
		b.register(t, name, "7d")
		dsn[i] = b.db.DSN
	}
	for want, c := range map[string]struct {
		env  map[string]string
		args []string
	}{
		"by-flag":          {env: map[string]string{"IDEM_DATABASE_URL": dsn[1], "DATABASE_URL": dsn[2]}, args: []string{"--database-url", dsn[0]}},
		"by-idem-variable": {env: map[string]string{"IDEM_DATABASE_URL": dsn[1], "DATABASE_URL": dsn[2]}},
		"by-variable":      {env: map[string]string{"IDEM_DATABASE_URL": "", "DATABASE_URL": dsn[2]}},
	} {
		b := &bundle{env: c.env}
		got := decode[[]ops.Consumer](t, b.ok(t, append(c.args, "consumer", "list", "--json")...))
		if len(got) != 1 || got[0].Name != want {
			t.Errorf("got the database with %v, want %s", got, want)
		}
	}
}

func TestDefaultTargetIsThatOfLibpq(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		flag *string
		env  map[string]string
	}{
		"nothing is set":     {},
		"variables are void": {env: map[string]string{"IDEM_DATABASE_URL": "", "DATABASE_URL": ""}},
		"flag is void":       {flag: new(string), env: map[string]string{"DATABASE_URL": "postgres://elsewhere/"}},
	} {
		a := &app{Program: Program{LookupEnv: lookup(c.env)}}
		if got := a.chooseTarget(c.flag != nil); got.dsn != "" || !strings.Contains(got.source, "PG* variables") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestSchemaAndConsumerPrecedence(t *testing.T) {
	t.Parallel()
	b := newBundle(t, pgtest.NewEmptyDB(t))
	for _, name := range []string{"idem", "by_variable", "by_flag"} {
		b.env["IDEM_SCHEMA"] = name
		b.ok(t, "migrate", "up")
		b.register(t, "in "+name, "7d")
		b.ok(t, "mark", "4711", "--consumer", "in "+name)
	}
	schemas := map[string][]string{"idem": nil, "by_variable": nil, "by_flag": {"--schema", "by_flag"}}
	for want, args := range schemas {
		if b.env["IDEM_SCHEMA"] = "by_variable"; want == "idem" {
			b.env["IDEM_SCHEMA"] = ""
		}
		got := decode[[]ops.Consumer](t, b.ok(t, append(args, "consumer", "list", "--json")...))
		if len(got) != 1 || got[0].Name != "in "+want {
			t.Errorf("got the schema with %v, want %s", got, want)
		}
	}

	b.env["IDEM_SCHEMA"] = ""
	b.register(t, "other", "7d")
	b.env["IDEM_CONSUMER"] = "other"
	b.run(t, "show", "4711").want(t, exitNotFound, "by other")
	b.ok(t, "show", "4711", "--consumer", "in idem")
	b.ok(t, "show", "4711", "-c", "")
}

// In a script an empty flag is a variable that is not set. It must stand for nothing else: not for all topics, nor for another schema.
func TestEmptyFlagsChangeNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.refused(t, "a")
	b.register(t, "payments", "7d")
	if _, err := b.leases(t, lease.Config{}).Do(t.Context(), "e", noAnswer); !errors.As(err, new(*lease.UndecidedError)) {
		t.Fatal(err)
	}
	for flag, line := range map[string]string{
		"--topic":        "outbox discard --all --yes --topic=",
		"--result":       "lease decide e -c payments --took-effect --yes --result=",
		"--cluster":      "consumer rebind payments --yes --watch 1ms --group= --cluster=",
		"--schema":       "consumer delete payments --yes --watch 1ms --schema=",
		"--database-url": "consumer list --database-url=",
		"--token-file":   "console --listen 127.0.0.1:0 --token-file=",
	} {
		b.run(t, append(strings.Fields(line), "--timeout", "10s")...).want(t, exitUsage, flag+" is empty")
	}
	if b.one(t, `SELECT count(*) FROM idem.outbox WHERE state = 'failed'`) != 1 || b.one(t, `SELECT count(*) FROM idem.leases`) != 1 {
		t.Error("something was changed")
	}
	b.ok(t, "consumer", "pause", "payments", "--by=", "--reason=")
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "c", "7d")
	tx, err := b.conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.age(t, "c", 1) // Held by a transaction that does not end.
	r := b.run(t, "mark", "e1", "--consumer", "c", "--timeout", "300ms", "--json")
	r.want(t, exitFailure, "--timeout is over")
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.run(t, "status", "--timeout", "-1s").want(t, exitUsage, "negative")
}

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	b := &bundle{env: map[string]string{"IDEM_DATABASE_URL": "postgres://127.0.0.1:1/nothing"}}
	for line, want := range map[string]string{
		"nonsense":                          `unknown command "nonsense"`,
		"migrate":                           "needs a command",
		"migrate nonsense":                  `unknown command "nonsense"`,
		"consumer":                          "needs a command",
		"status --nonsense":                 "unknown flag: --nonsense",
		"status extra":                      "extra",
		"show":                              "needs EVENT-ID",
		"status --schema Big":               "invalid schema name",
		"mark 1":                            "--consumer",
		"forget 1":                          "--consumer",
		"mark -c c":                         "which events?",
		"mark 1 --file x -c c":              "not both",
		"migrate to x":                      "not a version",
		"migrate to -- -1":                  "not a version",
		"consumer set-retention c soon":     "not a duration",
		"consumer set-retention c 1ns":      "microseconds",
		"consumer register c --retention 0": "not a positive duration",
		"import -c c":                       "SCHEMA.TABLE",
		"import -c c --from-table x":        "SCHEMA.TABLE",
		"import -c c --from-table a.b.c":    "SCHEMA.TABLE",
		"import --from-table a.b":           "--consumer",
	} {
		r := b.run(t, strings.Fields(line)...)
		r.want(t, exitUsage, want, "--help")
		if r.stdout != "" {
			t.Errorf("%s: stdout: %s", line, r.stdout)
		}
	}
	b.env["IDEM_SCHEMA"] = "pg_mine"
	b.run(t, "status").want(t, exitUsage, "$IDEM_SCHEMA: invalid schema name")
	delete(b.env, "IDEM_SCHEMA")
	b.run(t, "show", strings.Repeat("x", 5000)).want(t, exitUsage, "5,000 bytes", "4,096")
	b.run(t, "mark", "", "-c", "c").want(t, exitUsage, "empty")
}
