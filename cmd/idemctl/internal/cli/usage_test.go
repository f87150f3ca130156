package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// Wrong lines are told what is wrong in words of this program, not of its libraries.
func TestWrongLinesAreExplained(t *testing.T) {
	t.Parallel()
	b := &bundle{env: map[string]string{"DATABASE_URL": "postgres://127.0.0.1:1/none"}}
	long := strings.Repeat("x", 5000)
	for line, want := range map[string]string{
		"show":                          `"idemctl show" needs EVENT-ID`,
		"show a b":                      `takes EVENT-ID and no more; b is one too many`,
		"consumer register":             `needs NAME`,
		"consumer set-retention":        `needs NAME and DURATION`,
		"consumer set-retention c":      `needs DURATION`,
		"deadletter show":               `needs ID`,
		"migrate to":                    `needs VERSION`,
		"checkpoint reset --to latest":  `--to must be a whole number, not latest`,
		"checkpoint reset -p x":         `--partition must be a whole number below`,
		"status --timeout soon":         `--timeout must be a duration like 30s`,
		"status --json=perhaps":         `--json must be true or false`,
		"completion nosuch":             `unknown command "nosuch"`,
		"completion":                    `needs a command`,
		"help nosuch":                   `no command nosuch`,
		"help migrate nosuch":           `no command migrate nosuch`,
		"nosuch":                        `unknown command "nosuch"`,
		"show " + long:                  `it has 5,000 bytes`,
		"deadletter show " + long:       `xxx…`,
		"migrate to " + long:            `xxx…`,
		"consumer register a " + long:   `xxx…`,
		long:                            `xxx…`,
		"checkpoint reset --to " + long: `xxx…`,
	} {
		r := b.run(t, strings.Fields(line)...)
		if r.status != exitUsage || !strings.Contains(r.stderr, want) || strings.Contains(r.stderr, "strconv") || strings.Contains(r.stderr, "arg(s)") || len(r.stderr) > 1000 || r.stdout != "" {
			t.Errorf("%.80s: %+v", line, r)
		}
	}
	contains(t, b.ok(t, "help", "migrate", "up"), "Applies all migrations")
}

func TestLongMessagesAreCut(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"a short one\n with two lines":                           "a short one\n with two lines",
		"the event " + strings.Repeat("é", 200) + " is\nunknown": "the event " + strings.Repeat("é", 40) + "… is\nunknown",
		strings.Repeat("word ", 1000):                            strings.Repeat("word ", 400) + "… ",
	} {
		if got := cutLong(given); got != want {
			t.Errorf("%.60q: got %q", given, got)
		}
	}
}

// What libpq takes, and pgx does not.
func TestConnectionStringsOfOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	separator := map[bool]string{true: "&", false: " "}[strings.Contains(b.db.DSN, "://")]
	b.env["IDEM_DATABASE_URL"] = b.db.DSN + separator + "keepalives=1"
	r := b.run(t, "status")
	r.want(t, exitUsage, "the parameter keepalives is libpq's own; leave it out", "$IDEM_DATABASE_URL")
	b.env["IDEM_DATABASE_URL"] = b.db.DSN + "\r\n"
	b.ok(t, "status")
	b.env["IDEM_DATABASE_URL"] = " " + b.db.DSN + "\n"
	b.ok(t, "status")
}

func TestStatementTimeoutIsNamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	b.hold(t, "LOCK TABLE idem.processed_events IN ACCESS EXCLUSIVE MODE")
	b.env["IDEM_DATABASE_URL"] += "&statement_timeout=50"
	for _, line := range []string{"cleanup --dry-run", "status --exact"} {
		r := b.run(t, strings.Fields(line)...)
		r.want(t, exitFailure, "statement timeout", "PGOPTIONS='-c statement_timeout=0'")
		if strings.Contains(r.stderr, "most likely") {
			t.Error(fmt.Sprint(r))
		}
	}
}

func TestReadOnlyServerIsNamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	b.env["IDEM_DATABASE_URL"] += "&default_transaction_read_only=on"
	b.run(t, "consumer", "pause", "orders").want(t, exitFailure, "read-only transaction", "it is a standby", "idemctl doctor")
}

func TestPoolerThatLosesStatementsIsNamed(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"26000", "42P05"} {
		if text := (&app{}).errorText(&pgconn.PgError{Code: code}); !strings.Contains(text, "default_query_exec_mode=exec") {
			t.Error(text)
		}
	}
}
