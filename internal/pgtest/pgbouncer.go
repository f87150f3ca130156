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

	mode    string
	program string
	target  *pgx.ConnConfig
	home    *daemon.Home
	process *daemon.Process
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
	b, err := LaunchPgBouncer(t.Context(), db.DSN, mode)
	if errors.Is(err, ErrNoPgBouncer) {
		return nil, err
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})

	return b, nil
}

// LaunchPgBouncer starts a PgBouncer in front of the database of a connection string, for programs that are no tests.
func LaunchPgBouncer(ctx context.Context, dsn, mode string) (*PgBouncer, error) {
	program, err := findPgBouncer()
	if err != nil {
		return nil, err
	}
	target, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	b := &PgBouncer{mode: mode, program: program, target: target}
	if b.PreparedStatements, err = preparesStatements(ctx, program); err != nil {
		return nil, err
	}
	if b.home, err = daemon.NewHome("", "idem-pgbouncer-"); err != nil {
		return nil, err
	}
	err = daemon.OnFreePort(ctx, func(port int) error { return b.start(ctx, port) })
	if err != nil {
		return nil, errors.Join(err, b.home.Close())
	}

	return b, nil
}

// Kill ends it by SIGKILL. Recover starts it again.
func (b *PgBouncer) Kill() { b.process.Stop(syscall.SIGKILL) }

// Recover starts one again that has ended, on its port.
func (b *PgBouncer) Recover(ctx context.Context) error { return b.start(ctx, int(b.Addr.Port())) }

// Stop stops it.
func (b *PgBouncer) Stop() error {
	b.process.Stop(syscall.SIGTERM)

	return b.home.Close()
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

func preparesStatements(ctx context.Context, program string) (bool, error) {
	output, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return false, err
	}
	match := pgbouncerVersion.FindSubmatch(output)
	if match == nil {
		return false, fmt.Errorf("cannot tell the version of PgBouncer from %q", output)
	}
	minor, err := strconv.Atoi(string(match[1]))

	return minor >= preparedSince, err
}

func (b *PgBouncer) start(ctx context.Context, port int) (err error) {
	b.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)) //nolint:gosec // It is a port.
	dsn := url.URL{
		Scheme: "postgres", User: url.UserPassword(b.target.User, b.target.Password),
		Host: b.Addr.String(), Path: b.target.Database, RawQuery: "sslmode=disable",
	}
	b.DSN = dsn.String()
	if err := b.home.WriteFile("users", users(b.target)); err != nil {
		return err
	}
	if err := b.home.WriteFile("pgbouncer.ini", b.ini()); err != nil {
		return err
	}
	ready := func(ctx context.Context) error {
		conn, err := pgconn.Connect(ctx, b.DSN)
		if err == nil {
			_ = conn.Close(ctx) // PgBouncer is ready all the same.
		}

		return err
	}
	b.process, err = b.home.Start(ctx, ready, "pgbouncer", b.program, b.home.Path("pgbouncer.ini"))

	return err
}

// users is the file of the passwords with which clients and PgBouncer itself log in.
func users(target *pgx.ConnConfig) []byte {
	quote := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

	return []byte(quote(target.User) + " " + quote(target.Password) + "\n")
}

func (b *PgBouncer) ini() []byte {
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
server_login_retry = 1
ignore_startup_parameters = search_path
`, b.target.Database, b.target.Host, b.target.Port, b.Addr.Port(), b.home.Path("users"), b.mode)
	if b.PreparedStatements {
		ini.WriteString("max_prepared_statements = 200\n")
	}

	return []byte(ini.String())
}
