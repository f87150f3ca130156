package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/kafkafacts"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// planted is a password, where the fuzzer writes PASSWORD.
const planted = "zebraquagga"

// variables are those of the environment by which idemctl and pgx connect, and what they are if the fuzzer does not say.
var variables = map[string]string{
	"IDEM_DATABASE_URL": "", "DATABASE_URL": "", "IDEM_SCHEMA": "", "IDEM_CONSUMER": "", "IDEM_BROKERS": "",
	"PGHOST": "127.0.0.1", "PGPORT": "1", "PGPASSWORD": "PASSWORD", "PGDATABASE": "", "PGUSER": "", "PGPASSFILE": "", "PGAPPNAME": "", "PGCONNECT_TIMEOUT": "", "PGSSLMODE": "", "PGSSLKEY": "", "PGSSLCERT": "",
	"PGSSLSNI": "", "PGSSLROOTCERT": "", "PGSSLPASSWORD": "", "PGOPTIONS": "", "PGTARGETSESSIONATTRS": "", "PGTZ": "", "PGSERVICE": "", "PGSERVICEFILE": "", "PGREQUIREAUTH": "", "PGCHANNELBINDING": "",
}

// FuzzArguments runs the program with any arguments, a word a line, with an address, and in an environment, a variable a line,
// for the role of a service: no panic, an exit status that the help documents, nothing that a terminal would obey, and no
// password.
func FuzzArguments(f *testing.F) {
	for _, line := range []string{
		"", "status", "status\n--json", "mark\na\n-c\norders", "show\na\x00b\n-c\norders", "forget\n\xff\n-c\norders\n--yes", "explain\n'; --", "cleanup\n-c\norders\n--older-than\n-1s",
		"deadletter\nlist\n--error\n%", "deadletter\nlist\n--since\n9999-12-31", "deadletter\nreplay\n--all\n--yes", "checkpoint\nreset\norders\n--topic\nt\n--partition\n-1",
		"consumer\nregister\n\x1b[2J\n--retention\n7d", "lease\nlist", "outbox\nlist\n--topic\n..", "migrate\nprint\n--grants\n\"x", "status\n--schema\n\"; --", "status\n--timeout\n1ns", "--database-url", "help\nx",
	} {
		f.Add(line, "", "")
	}
	for _, environment := range []string{
		"IDEM_SCHEMA=\"; --", "IDEM_CONSUMER=\x1b[2J", "IDEM_SCHEMA=nosuch\nIDEM_CONSUMER=orders", "IDEM_DATABASE_URL=\nDATABASE_URL=postgres://u:PASSWORD@127.0.0.1:1/x\n", "DATABASE_URL= \nPGUSER=\x00", "PGOPTIONS=-c x",
		"PGSSLMODE=no", "PGSERVICE=x", "PGPORT=x\nDATABASE_URL=", "PGOPTIONS=-c statement_timeout=1", "PGTARGETSESSIONATTRS=standby", "PGTZ='", "PGAPPNAME=\xff",
	} {
		f.Add("status", "", environment)
		f.Add("mark\na\n-c\norders", "", "IDEM_DATABASE_URL=\n"+environment)
	}
	for _, brokers := range []string{"127.0.0.1:1", "kafka://u:PASSWORD@127.0.0.1:1", "kafka+tls://u:PASSWORD@127.0.0.1:1?sasl=x", "kafka://u:a?PASSWORD@127.0.0.1:1", "kafka://u:PASSWORD?a@127.0.0.1:1", "kafka://u:%PASSWORD@127.0.0.1:1", "a:PASSWORD"} {
		f.Add("doctor\n--timeout\n5s", "", "IDEM_BROKERS="+brokers)
	}
	for _, address := range []string{
		"postgres://u:PASSWORD@127.0.0.1:1/x", "postgres://u:a@PASSWORD@127.0.0.1:1/x", "postgres://u:PASSWORD", "host=127.0.0.1 port=1 password=PASSWORD", "host=127.0.0.1 port=1 password='PASSWORD", "password=PASSWORD x=\x1b[2J",
		"Server=127.0.0.1;Password=PASSWORD", "postgres://127.0.0.1:1?passfile=x&pool_max_conns=PASSWORD", "postgres://u:PASSWORD@127.0.0.1:1/x?sslmode=verify-full&sslrootcert=x", "PASSWORD",
	} {
		f.Add("status", address, "")
		f.Add("lease\nlist\n--json", address, "IDEM_SCHEMA=x")
	}
	server := pgtest.NewDB(f).Service
	f.Fuzz(func(t *testing.T, line, address, environment string) {
		if strings.Contains(environment+address, "dev") || strings.Contains(strings.ToLower(line+environment+address), "zebra") {
			return // The one is a file without an end, the other no secret.
		}
		args := strings.Split(line, "\n")
		if slices.ContainsFunc(args, func(word string) bool {
			return word == "console" || strings.HasPrefix(word, "/") || strings.HasPrefix(word, "--database-url")
		}) {
			return // It serves, or goes elsewhere.
		}
		b := &bundle{env: fuzzedEnvironment(t, environment, server)}
		address = strings.ReplaceAll(address, "PASSWORD", planted)
		if address != "" {
			args = append([]string{"--database-url=" + address}, args...)
		}
		dsn := strings.TrimSpace(cmp.Or(address, b.env["IDEM_DATABASE_URL"], b.env["DATABASE_URL"]))
		if !refusesAtOnce(target{dsn: dsn}, server) || !brokersRefuseAtOnce(b.env["IDEM_BROKERS"]) {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r := b.runWith(ctx, strings.NewReader(""), args...)
		if r.status < 0 || r.status > exitProblem && r.status != exitInterrupted || r.status == exitInterrupted && ctx.Err() == nil {
			t.Errorf("%q: status %d\n%s", args, r.status, r.stderr)
		}
		if strings.ContainsAny(r.stderr, "\x00\x1b\a") {
			t.Errorf("%q: a control character for the terminal: %q", args, r.stderr)
		}
		if strings.HasPrefix(r.stderr, "idemctl: cannot read the ") && r.status != exitUsage {
			t.Errorf("%q: status %d\n%s", args, r.status, r.stderr)
		}
		for _, part := range []string{"zebra", "quagga"} {
			if strings.Contains(r.stdout+r.stderr, part) {
				t.Errorf("%q, %q: %q is told\n%s%s", args, b.env, part, r.stdout, r.stderr)
			}
		}
	})
}

// fuzzedEnvironment sets the PG* variables and returns the others. The database is the server's unless the fuzzer says another.
func fuzzedEnvironment(t *testing.T, text, server string) map[string]string {
	t.Helper()
	chosen := maps.Clone(variables)
	chosen["IDEM_DATABASE_URL"] = server
	for line := range strings.SplitSeq(text, "\n") {
		name, value, _ := strings.Cut(line, "=")
		if _, known := variables[name]; known {
			chosen[name] = value
		}
	}
	for name, value := range chosen {
		if name != "IDEM_SCHEMA" && name != "IDEM_CONSUMER" {
			value = strings.ReplaceAll(value, "PASSWORD", planted)
			chosen[name] = value
		}
		if strings.HasPrefix(name, "PG") && !strings.Contains(value, "\x00") {
			t.Setenv(name, value)
		}
	}

	return chosen
}

// refusesAtOnce reports whether nobody waits for the hosts of an address, which cannot be read, or where nobody listens, or which is
// that of the server. It reports false, too, where what is planted is something else than a password.
func refusesAtOnce(to target, server string) bool {
	config, err := to.config()
	if err != nil {
		return true
	}
	c := config.ConnConfig
	shown := append(slices.Collect(maps.Values(c.RuntimeParams)), slices.Collect(maps.Keys(c.RuntimeParams))...)
	shown = append(shown, c.Host, c.User, c.Database)
	refuses := to.dsn == server || c.Host == "127.0.0.1" && c.Port == 1
	for _, fallback := range c.Fallbacks {
		refuses = refuses && (to.dsn == server || fallback.Host == "127.0.0.1" && fallback.Port == 1)
	}

	return refuses && !slices.ContainsFunc(shown, func(text string) bool { return strings.Contains(text, planted) })
}

// refusing are brokers where nobody listens, with what is planted in the password, if anywhere.
var refusing = regexp.MustCompile(`^(kafka(\+tls)?://([^:?@]*(:[^?]*)?@)?)?127\.0\.0\.1:1(\?.*)?$`)

func brokersRefuseAtOnce(brokers string) bool {
	_, query, _ := strings.Cut(brokers, "?")
	user, _, _ := strings.Cut(brokers, "@")
	if _, err := kafkafacts.Parse(brokers); err != nil {
		return !strings.Contains(query, "sasl=")
	}

	return refusing.MatchString(brokers) && !strings.Contains(query, planted) && (strings.Count(user, ":") > 1 || !strings.Contains(user, planted))
}

// FuzzPassword has a connection fail, with a password of any characters in an address of each form: no output shows what
// stands in its middle.
func FuzzPassword(f *testing.F) {
	for _, part := range []string{"", "a", "@", "/", "?", "#", ":", "%", " ", "'", `\`, "\n", "\x00", "é", "=", "&x=", " host=", "@[::1]/", "' x='"} {
		f.Add(part, part, "status")
	}
	f.Fuzz(func(t *testing.T, before, behind, command string) {
		if strings.Contains(command, "zebra") || strings.HasPrefix(command, "console") {
			return
		}
		password := before + planted + behind
		quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password)
		for _, dsn := range []string{
			fmt.Sprintf("postgres://u:%s@127.0.0.1:1/db", password),
			fmt.Sprintf("postgres://u:%s@127.0.0.1:1/db", url.QueryEscape(password)),
			"postgres://127.0.0.1:1/db?user=u&password=" + url.QueryEscape(password),
			"host=127.0.0.1 port=1 user=u password=" + password,
			fmt.Sprintf("host=127.0.0.1 port=1 user=u password='%s'", quoted),
		} {
			b := &bundle{env: map[string]string{"DATABASE_URL": dsn}}
			r := b.run(t, append(strings.Split(command, "\n"), "--timeout", "1s")...)
			if strings.Contains(r.stdout+r.stderr, planted) {
				t.Errorf("%q: %s: status %d\n%s%s", dsn, command, r.status, r.stdout, r.stderr)
			}
		}
	})
}
