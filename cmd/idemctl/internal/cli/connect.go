package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/unverified"
)

const (
	// pgxConnectTimeout is pgx's default, too long for somebody who waits at a terminal.
	pgxConnectTimeout = 2 * time.Minute
	connectTimeout    = 10 * time.Second

	// cancelTimeout is how long the server may take to confirm that it cancelled a statement.
	cancelTimeout = 5 * time.Second
)

var errTimeout = errors.New("the time of --timeout is over")

// target is the database that was asked for. Its text must not be printed: it may hold a
// password.
type target struct {
	dsn    string
	source string
}

func (a *app) chooseTarget(given bool) target {
	dsn, source := a.choose(given, a.settings.databaseURL, "--database-url", "IDEM_DATABASE_URL", "DATABASE_URL")
	dsn = strings.TrimSpace(dsn) // Variables that were read from files end in a newline.
	if dsn == "" {
		source = "the PG* variables (neither --database-url nor $IDEM_DATABASE_URL nor $DATABASE_URL is set)"
	}

	return target{dsn: dsn, source: source}
}

// withPool runs fn with a connection to the database, within the time that --timeout allows.
func (a *app) withPool(command *cobra.Command, fn func(ctx context.Context, pool *pgxpool.Pool) error) error {
	ctx := command.Context()
	if a.settings.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, a.settings.timeout, errTimeout)
		defer cancel()
	}
	config, err := a.target.config()
	if err != nil {
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("make a connection pool: %w", err)
	}
	defer pool.Close()
	if lacks := unverified.Postgres(&config.ConnConfig.Config); lacks != "" {
		_, _ = fmt.Fprintf(a.Stderr, "idemctl: warning: %s on the connection to PostgreSQL; use sslmode=verify-full\n", lacks)
	}

	err = pool.Ping(ctx)
	if err != nil {
		err = &connectError{target: a.target, err: err}
	} else {
		err = fn(ctx, pool)
	}
	if err != nil && errors.Is(context.Cause(ctx), errTimeout) {
		return fmt.Errorf("%w: %w", errTimeout, err)
	}

	return err
}

// parameterName is what the name of a parameter can look like that is not a mistaken part of
// something else, of a password for instance.
var parameterName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_.]*$`)

// libpqOnly are parameters that libpq knows and pgx would send to the server, which does not. They are
// words that nobody has for a password.
var libpqOnly = []string{
	"fallback_application_name", "gsslib", "gssdelegation", "gssencmode", "keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval",
	"load_balance_hosts", "hostaddr", "oauth_client_id", "oauth_issuer", "oauth_scope", "requirepeer", "requiressl", "scram_client_key", "scram_server_key",
	"sslcompression", "sslcrl", "sslcrldir", "sslkeylogfile", "ssl_max_protocol_version", "tcp_user_timeout",
}

func (t target) config() (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(t.dsn)
	if err != nil {
		return nil, t.malformed(parseProblem(err))
	}
	conn := config.ConnConfig
	for _, name := range slices.Sorted(maps.Keys(conn.RuntimeParams)) {
		if slices.Contains(libpqOnly, name) {
			return nil, t.malformed(fmt.Sprintf("the parameter %s is libpq's own; leave it out", name))
		}
		if !parameterName.MatchString(name) {
			return nil, t.malformed("")
		}
	}
	if misread(conn) {
		return nil, t.malformed("a part of it is in the wrong place; put spaces between keyword=value, and & between the parameters of a URL, not semicolons")
	}
	if conn.ConnectTimeout == pgxConnectTimeout {
		conn.ConnectTimeout = connectTimeout
	}
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "idemctl"
	}
	// The migrator reads times, and pgx as text only these, which it gets in some query execution modes.
	conn.RuntimeParams["datestyle"] = "ISO"
	// A statement whose waiting ends must not go on in the server: it may hold locks.
	conn.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: cancelTimeout}
	}
	config.MaxConns, config.MinConns, config.MinIdleConns = 4, 0, 0

	return config, nil
}

// password is what a password begins with that was taken for a part of something else.
var password = regexp.MustCompile(`(?i)(pass(word|wd|phrase)?|pwd)\s*[=:]`)

// misread reports whether host, user, database or a parameter may hold a password, because the string
// was written for another driver ("host=…;password=…"). Errors would repeat it.
func misread(conn *pgx.ConnConfig) bool {
	names := []string{conn.Host, conn.User, conn.Database}
	for _, fallback := range conn.Fallbacks {
		names = append(names, fallback.Host)
	}
	parameters := slices.Collect(maps.Values(conn.RuntimeParams))

	return slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, ";") }) ||
		slices.ContainsFunc(append(names, parameters...), password.MatchString)
}

func (t target) malformed(problem string) error {
	if problem != "" {
		problem = ": " + problem
	}

	return fail(exitUsage, "%s", lines(
		"cannot read the connection string in "+t.source+problem,
		"It is not shown here because it may hold a password. It should look like",
		"    postgres://user:password@host:5432/database?sslmode=verify-full",
		"or  host=… port=5432 user=… password='…' dbname=… sslmode=verify-full",
		"In a URL write special characters of the password in percent form: @ as %40, / as %2F, # as %23."))
}

// parseProblem is the part of pgx's error that cannot hold a piece of a password: pgx itself
// only redacts passwords that it recognizes.
func parseProblem(err error) string {
	known := []string{
		"invalid port", "invalid sslcertmode", "invalid connect_timeout", "failed to configure TLS",
		"failed to read service", "unknown target_session_attrs value", "unknown channel_binding value", "invalid require_auth",
		"cannot parse pool_max_conns", "cannot parse statement_cache_capacity", "default_query_exec_mode",
	}
	i := slices.IndexFunc(known, func(problem string) bool { return strings.Contains(err.Error(), "`: "+problem) })
	if i < 0 {
		return ""
	}

	return known[i]
}
