package cli

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/internal/await"
	"github.com/nova-events/idempotent-consumer/internal/pgserver"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/ops"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// onServer is a bundle on a server of the test's own, whose settings can be changed.
func onServer(t *testing.T, settings map[string]string) *bundle {
	t.Helper()
	server, err := pgserver.Start(t.Context(), pgserver.Config{Durable: true, Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	dsn := server.DSN("postgres")
	if err := migrate.Up(t.Context(), dsn, schema.DefaultName); err != nil {
		t.Fatal(err)
	}

	return newBundle(t, &pgtest.DB{Name: "postgres", DSN: dsn})
}

// diagnose runs the doctor, whose exit status must tell of its verdict.
func (b *bundle) diagnose(t *testing.T, args ...string) ops.Diagnosis {
	t.Helper()
	r := b.run(t, append([]string{"doctor", "--json"}, args...)...)
	d := decode[ops.Diagnosis](t, r.stdout)
	want := map[ops.Severity]int{ops.SeverityOK: 0, ops.SeverityUnknown: exitWarning, ops.SeverityWarning: exitWarning, ops.SeverityProblem: exitProblem}[d.Verdict]
	if r.status != want {
		t.Fatalf("exit status %d for %s\n%s", r.status, d.Verdict, r.stderr)
	}

	return d
}

// found are the findings of a check that are not ok.
func (b *bundle) found(t *testing.T, id string, args ...string) []ops.Finding {
	t.Helper()
	d := b.diagnose(t, args...)
	of := slices.DeleteFunc(d.Findings, func(f ops.Finding) bool { return f.ID != id })
	if len(of) == 0 {
		t.Fatalf("there is no check %s", id)
	}

	return slices.DeleteFunc(of, func(f ops.Finding) bool { return f.Severity == ops.SeverityOK })
}

// must returns the first finding of a check whose subject and sight hold a text. A server may need a moment
// to know.
func (b *bundle) must(t *testing.T, id string, severity ops.Severity, text string) ops.Finding {
	t.Helper()
	var found []ops.Finding
	await.Until(t, id+" to tell of "+text, func() bool {
		found = b.tells(t, id, text)

		return len(found) > 0
	})
	f := found[0]
	if f.Severity != severity || f.Why == "" || f.Next == "" || f.Runbook != "docs/operations.md#"+id {
		t.Fatalf("%+v, want %s", f, severity)
	}

	return f
}

// cured waits until the check finds nothing that holds the text any more.
func (b *bundle) cured(t *testing.T, id, text string) {
	t.Helper()
	await.Until(t, id+" to tell no more of "+text, func() bool { return len(b.tells(t, id, text)) == 0 })
}

// tells returns the findings of a check whose subject and sight hold a text.
func (b *bundle) tells(t *testing.T, id, text string) []ops.Finding {
	t.Helper()

	return slices.DeleteFunc(b.found(t, id), func(f ops.Finding) bool { return !strings.Contains(f.Subject+": "+f.Seen, text) })
}

// take types the commands of a finding: idemctl's here, all others in psql. What is asked is confirmed, and SQL
// that idemctl prints is executed, by a superuser.
func (b *bundle) take(t *testing.T, f ops.Finding) {
	t.Helper()
	if len(f.Commands) == 0 {
		t.Fatalf("%s has no command", f.ID)
	}
	for _, command := range f.Commands {
		args, ours := strings.CutPrefix(command, "idemctl ")
		if !ours {
			b.exec(t, command)

			continue
		}
		as := *b
		as.env = map[string]string{"IDEM_DATABASE_URL": unqualifiedFails(b.db.DSN)}
		words := strings.Fields(args)
		if slices.Contains(words, "--grants") {
			b.exec(t, as.ok(t, words...))

			continue
		}
		if asks := []string{"delete", "reset", "set-retention", "skip"}; len(words) > 1 && slices.Contains(asks, words[1]) {
			words = append(words, "--yes")
		}
		as.ok(t, words...)
	}
}

// heal takes the advice of a finding and sees it gone.
func (b *bundle) heal(t *testing.T, f ops.Finding) {
	t.Helper()
	b.take(t, f)
	b.cured(t, f.ID, f.Subject)
}

func TestDoctorFindsNothingOnASoundServer(t *testing.T) {
	t.Parallel()
	b := onServer(t, nil)
	d := b.diagnose(t)
	for _, f := range d.Findings {
		if f.Severity != ops.SeverityOK || f.Seen == "" || f.Subject == "" || f.Why != "" || f.Next != "" || f.Commands == nil {
			t.Errorf("%+v", f)
		}
	}
	if d.Verdict != ops.SeverityOK || d.Schema != "idem" || time.Since(d.CheckedAt).Abs() > time.Hour {
		t.Errorf("%+v", d)
	}
	contains(t, b.ok(t, "doctor"), "VERDICT  CHECK", "\nok       fsync-off")
}

// The text names what to do, the worst first, and the exit status tells how bad it is.
func TestDoctorTellsPeople(t *testing.T) {
	t.Parallel()
	b := onServer(t, nil)
	b.exec(t, "ALTER ROLE postgres SET synchronous_commit = off")
	r := b.run(t, "doctor")
	r.want(t, exitWarning, "there are warnings")
	contains(t, r.stdout, "\nwarning  synchronous-commit-off", "\nWARNING    synchronous-commit-off: role postgres\n", "  seen     synchronous_commit is off\n",
		"  matters  A crash", "  type     ALTER ROLE", "  more     docs/operations.md#synchronous-commit-off\n")
	b.exec(t, "ALTER TABLE idem.checkpoints SET (autovacuum_enabled = off)")
	r = b.run(t, "doctor")
	r.want(t, exitProblem, "there are problems")
	if strings.Index(r.stdout, "\nPROBLEM ") > strings.Index(r.stdout, "\nWARNING ") {
		t.Error(r.stdout)
	}
	b.exec(t, "CREATE ROLE guest; ALTER ROLE guest SET synchronous_commit = on")
}

func TestDoctorRefusesBrokersThatItCannotRead(t *testing.T) {
	t.Parallel()
	b := &bundle{}
	for _, brokers := range []string{"kafka-1", "http://kafka-1:9092", "kafka://u:zebra%@k:9092", "kafka+tls://u:zebra@k:9092?sasl=GSSAPI", "kafka://u:zebra@k:9092?ca=/x", "kafka://u:zebra@/"} {
		r := b.run(t, "doctor", "--brokers", brokers)
		r.want(t, exitUsage, "--brokers", "kafka+tls://")
		if strings.Contains(r.stderr, "zebra") {
			t.Error(r.stderr)
		}
	}
}

// connections opens sessions of the database, which close ends.
func (b *bundle) connections(t *testing.T, n int) (closeAll func()) {
	t.Helper()
	var all []*pgx.Conn
	for range n {
		all = append(all, connect(t, b.db.DSN))
	}

	return func() {
		for _, conn := range all {
			_ = conn.Close(context.Background()) // Nothing is pending on it.
		}
	}
}
