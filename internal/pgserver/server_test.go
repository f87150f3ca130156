package pgserver_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/nova-events/idempotent-consumer/internal/pgserver"
)

func TestMain(m *testing.M) {
	if os.Getenv(envAbandon) != "" {
		startAndWaitToBeKilled()
	}
	goleak.VerifyTestMain(m)
}

func start(t *testing.T, cfg pgserver.Config) *pgserver.Server {
	t.Helper()
	server, err := pgserver.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})

	return server
}

func query(t *testing.T, dsn, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // The query has told.

	var value string
	if err := conn.QueryRow(t.Context(), sql).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}

	return value
}

func TestCommittedRowsSurviveCrash(t *testing.T) {
	t.Parallel()
	server := start(t, pgserver.Config{})
	dsn := server.DSN("postgres")

	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // The server cuts it.
	if _, err := conn.Exec(t.Context(), "CREATE TABLE survivors AS SELECT 42 AS n"); err != nil {
		t.Fatal(err)
	}

	server.Crash()
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("a connection outlived the crash")
	}
	if _, err := pgx.Connect(t.Context(), dsn); err == nil {
		t.Error("connected to a crashed server")
	}

	if err := server.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if server.DSN("postgres") != dsn {
		t.Error("the server came back with another DSN")
	}
	if n := query(t, dsn, "SELECT n::text FROM survivors"); n != "42" {
		t.Errorf("after the crash n = %s, want 42", n)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := query(t, dsn, "SELECT n::text FROM survivors"); n != "42" {
		t.Errorf("after the restart n = %s, want 42", n)
	}
}

func TestDurability(t *testing.T) {
	t.Parallel()
	for durable, want := range map[bool]string{false: "off", true: "on"} {
		dsn := start(t, pgserver.Config{Durable: durable}).DSN("postgres")
		if got := query(t, dsn, "SHOW fsync"); got != want {
			t.Errorf("Durable: %t: fsync = %s, want %s", durable, got, want)
		}
		// Crash must not lose commits in either case.
		if got := query(t, dsn, "SHOW synchronous_commit"); got != "on" {
			t.Errorf("Durable: %t: synchronous_commit = %s, want on", durable, got)
		}
	}
}

func TestNobodyGetsInWithoutThePassword(t *testing.T) {
	t.Parallel()
	dsn, err := url.Parse(start(t, pgserver.Config{}).DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	dsn.User = url.UserPassword(dsn.User.Username(), "guess")
	if _, err := pgx.Connect(t.Context(), dsn.String()); err == nil {
		t.Error("connected with a wrong password")
	}
}

func TestStopRemovesEverything(t *testing.T) {
	t.Parallel()
	server, err := pgserver.Start(t.Context(), pgserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	data := query(t, server.DSN("postgres"), "SHOW data_directory")
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(data)); !os.IsNotExist(err) {
		t.Errorf("the folder of the stopped server: %v, want not exist", err)
	}
	if _, err := pgx.Connect(t.Context(), server.DSN("postgres")); err == nil {
		t.Error("connected to a stopped server")
	}
}

func TestFailedStartShowsTheLog(t *testing.T) {
	t.Parallel()
	_, err := pgserver.Start(t.Context(), pgserver.Config{Settings: map[string]string{"no_such_setting": "1"}})
	if err == nil || !strings.Contains(err.Error(), `unrecognized configuration parameter "no_such_setting"`) {
		t.Errorf("error = %v, want one with the server's own words", err)
	}
}

func TestNamedBinariesMustExist(t *testing.T) {
	t.Setenv("IDEM_TEST_PG", t.TempDir())
	_, err := pgserver.Start(t.Context(), pgserver.Config{})
	if err == nil || !strings.Contains(err.Error(), "IDEM_TEST_PG must be") {
		t.Errorf("error = %v, want one that names IDEM_TEST_PG", err)
	}
}
