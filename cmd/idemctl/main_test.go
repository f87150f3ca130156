package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// envProgram makes this test binary the program itself.
const envProgram = "IDEM_TEST_IDEMCTL"

func TestMain(m *testing.M) {
	if os.Getenv(envProgram) != "" {
		main()
	}
	pgtest.Main(m)
}

// idemctl returns the program, in an environment that says nothing about databases but env.
func idemctl(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...) //nolint:gosec // It is this test.
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "PG") && !strings.HasPrefix(variable, "IDEM_") && !strings.HasPrefix(variable, "DATABASE_URL=") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(append(cmd.Env, envProgram+"=1"), env...)

	return cmd
}

func TestExitStatusAndStreams(t *testing.T) {
	t.Parallel()
	cmd := idemctl(t, nil, "version")
	if out, err := cmd.Output(); err != nil || !strings.Contains(string(out), "minimum PostgreSQL") {
		t.Errorf("%s, %v", out, err)
	}
	var exit *exec.ExitError
	out, err := idemctl(t, nil, "nonsense").Output()
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || len(out) > 0 || !strings.Contains(string(exit.Stderr), "nonsense") {
		t.Errorf("%s, %v", out, err)
	}
}

// Without a URL the variables of libpq count, as for every other PostgreSQL program.
func TestPGVariables(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDB(t)
	config, err := pgx.ParseConfig(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	env := []string{
		"PGHOST=" + config.Host, fmt.Sprintf("PGPORT=%d", config.Port), "PGUSER=" + config.User, "PGPASSWORD=" + config.Password,
		"PGDATABASE=" + db.Name, "PGSSLMODE=disable",
	}
	if out, err := idemctl(t, env, "consumer", "register", "by-libpq").CombinedOutput(); err != nil {
		t.Fatalf("%s, %v", out, err)
	}
	out, err := idemctl(t, []string{"DATABASE_URL=" + db.DSN}, "consumer", "list").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "by-libpq") {
		t.Errorf("%s, %v", out, err)
	}

	env[3] = "PGPASSWORD=zebra"
	out, err = idemctl(t, env, "consumer", "list").CombinedOutput()
	if err == nil || strings.Contains(string(out), "zebra") || !strings.Contains(string(out), "PG* variables") {
		t.Errorf("%s, %v", out, err)
	}
}

// The pass waits for a row far behind its first batch when the signal comes.
func TestSignalEndsTheWorkCleanly(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]os.Signal{"SIGINT": os.Interrupt, "SIGTERM": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDB(t)
			listener, holder := connect(t, db.DSN), connect(t, db.DSN)
			mustExec(t, listener, `INSERT INTO idem.consumers (id, name, retention) VALUES (idem.consumer_id('c'), 'c', '1 minute')`)
			mustExec(t, listener, `INSERT INTO idem.processed_events (processed_at, consumer_id, key, claim_id)
				SELECT now() - interval '1 hour', c.id, gen_random_uuid(), gen_random_uuid() FROM generate_series(1, 20000), idem.consumers c`)
			mustExec(t, listener, `CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_catalog.pg_notify('committed', ''); RETURN NULL; END $$;
				CREATE TRIGGER tell AFTER DELETE ON idem.processed_events FOR EACH STATEMENT EXECUTE FUNCTION public.tell();
				LISTEN committed`)
			mustExec(t, holder, `BEGIN; SELECT FROM idem.processed_events WHERE ctid = (SELECT max(ctid) FROM idem.processed_events) FOR UPDATE`)

			cmd := idemctl(t, []string{"IDEM_DATABASE_URL=" + db.DSN}, "cleanup", "--json")
			var stdout, stderr strings.Builder
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := listener.WaitForNotification(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if status := cmd.ProcessState.ExitCode(); status != 130 || !strings.Contains(stderr.String(), "interrupted") ||
				!strings.Contains(stdout.String(), `"complete": false`) || strings.Contains(stdout.String(), `"deleted": 0`) {
				t.Errorf("status %d\n%s\n%s", status, &stdout, &stderr)
			}
		})
	}
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })

	return conn
}

func mustExec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}
