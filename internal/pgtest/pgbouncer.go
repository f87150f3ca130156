package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nova-events/idempotent-consumer/internal/daemon"
)

// ErrNoPgBouncer is returned when PgBouncer is not installed.
var ErrNoPgBouncer = errors.New("PgBouncer is not installed: install the package pgbouncer")

// PgBouncer is a connection pooler in front of a database. In transaction mode each
// transaction may run on another connection to the server.
type PgBouncer struct {
	DSN  string         // connection URL of the database through PgBouncer
	Addr netip.AddrPort // where it listens; for DB.Pool with the option Via

	// PreparedStatements tells whether clients may prepare statements, which version 1.21
	// and later allow. pgx does so in its modes cache_statement and cache_describe.
	PreparedStatements bool

	mode string
}

// preparedSince is the first version with max_prepared_statements.
const preparedSince = 21

var pgbouncerVersion = regexp.MustCompile(`PgBouncer 1\.(\d+)`)

// StartPgBouncer starts a PgBouncer in transaction mode in front of a database. It is stopped when the test
// ends. The error is ErrNoPgBouncer or nil; a PgBouncer that does not start fails the test.
//
// It gives every connection the search_path of Hostile, because it does not pass on the one that
// a client asks for.
func StartPgBouncer(t testing.TB, db *DB) (*PgBouncer, error) {
	t.Helper()

	return StartPgBouncerIn(t, db, "transaction")
}

// StartPgBouncerIn is StartPgBouncer for another pool_mode: session or statement.
func StartPgBouncerIn(t testing.TB, db *DB, mode string) (*PgBouncer, error) {
	t.Helper()
	program, err := findPgBouncer()
	if err != nil {
		return nil, err
	}
	target, err := pgx.ParseConfig(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	home, err := daemon.NewHome("", "idem-pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := home.Close(); err != nil {
			t.Error(err)
		}
	})

	b := &PgBouncer{PreparedStatements: preparesStatements(t, program), mode: mode}
	err = daemon.OnFreePort(t.Context(), func(port int) error {
		process, err := b.start(t.Context(), home, program, target, port)
		if err == nil {
			t.Cleanup(func() { process.Stop(syscall.SIGTERM) })
		}

		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	return b, nil
}

// findPgBouncer looks where packages install it, too: the PATH of ordinary users lacks that.
func findPgBouncer() (string, error) {
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}

	return "", ErrNoPgBouncer
}

func preparesStatements(t testing.TB, program string) bool {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), program, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	match := pgbouncerVersion.FindSubmatch(output)
	if match == nil {
		t.Fatalf("cannot tell the version of PgBouncer from %q", output)
	}
	minor, err := strconv.Atoi(string(match[1]))
	if err != nil {
		t.Fatal(err)
	}

	return minor >= preparedSince
}

func (b *PgBouncer) start(ctx context.Context, home *daemon.Home, program string, target *pgx.ConnConfig, port int) (*daemon.Process, error) {
	b.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)) //nolint:gosec // It is a port.
	dsn := url.URL{
		Scheme: "postgres", User: url.UserPassword(target.User, target.Password),
		Host: b.Addr.String(), Path: target.Database, RawQuery: "sslmode=disable",
	}
	b.DSN = dsn.String()
	if err := home.WriteFile("users", users(target)); err != nil {
		return nil, err
	}
	if err := home.WriteFile("pgbouncer.ini", b.ini(home, target)); err != nil {
		return nil, err
	}
	ready := func(ctx context.Context) error {
		conn, err := pgconn.Connect(ctx, b.DSN)
		if err == nil {
			_ = conn.Close(ctx) // PgBouncer is ready all the same.
		}

		return err
	}

	return home.Start(ctx, ready, "pgbouncer", program, home.Path("pgbouncer.ini"))
}

// users is the file of the passwords with which clients and PgBouncer itself log in.
func users(target *pgx.ConnConfig) []byte {
	quote := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

	return []byte(quote(target.User) + " " + quote(target.Password) + "\n")
}

func (b *PgBouncer) ini(home *daemon.Home, target *pgx.ConnConfig) []byte {
	var ini strings.Builder
	fmt.Fprintf(&ini, `[databases]
%s = host=%s port=%d connect_query='SET search_path TO public, pg_catalog'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s
pool_mode = %s
max_client_conn = 300
default_pool_size = 20
ignore_startup_parameters = search_path
`, target.Database, target.Host, target.Port, b.Addr.Port(), home.Path("users"), b.mode)
	if b.PreparedStatements {
		ini.WriteString("max_prepared_statements = 200\n")
	}

	return []byte(ini.String())
}
