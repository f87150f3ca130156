// Package pgserver starts a temporary PostgreSQL server for tests and the demo: with the
// binaries that are on the machine, else with downloaded ones. It ends with this process,
// even if that is killed.
package pgserver

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nova-events/idempotent-consumer/internal/daemon"
)

const (
	superuser = "postgres"
	off       = "off" // of a setting
)

// Config says how the server runs. The zero value is right for tests.
type Config struct {
	// Durable makes commits survive a crash of the operating system, as they do in
	// production. Default false: commits survive Crash only, and the data is kept in memory
	// if there is plenty, which makes creating a database ten times as fast.
	Durable bool

	// Settings are further server settings, such as "wal_level": "logical". They override
	// the ones made here.
	Settings map[string]string

	// Folder is where the server's own folder is created, which everybody must be able to do. Default: in memory unless the
	// server is durable, else that for temporary files.
	Folder string

	// Progress receives messages while PostgreSQL is downloaded. Default os.Stderr.
	Progress io.Writer
}

// Server is a running PostgreSQL. It listens on 127.0.0.1 only, and every connection needs
// the password in DSN.
type Server struct {
	bin      string // folder with initdb and postgres
	settings []string
	home     *daemon.Home
	port     int
	password string
	process  *daemon.Process // nil while it is stopped
}

// Start creates and starts a server in a temporary folder. Its errors say what to do and
// hold the end of the server's log.
//
// The binaries are those in the folder that the environment variable IDEM_TEST_PG names,
// else the first of version 14 or newer that is found on the machine, else downloaded ones
// (always these if IDEM_TEST_PG is "embedded", or "embedded-14" to "embedded-17" for one of the
// versions).
func Start(ctx context.Context, cfg Config) (*Server, error) {
	s, err := create(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("pgserver: %w", err)
	}
	if err := s.launchOnFreePort(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("pgserver: %w", err), s.home.Close())
	}

	return s, nil
}

// create makes a server that does not run yet, with a new data folder.
func create(ctx context.Context, cfg Config) (*Server, error) {
	s, err := prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := s.createCluster(ctx); err != nil {
		return nil, errors.Join(err, s.home.Close())
	}

	return s, nil
}

// prepare makes a server that has no data folder yet.
func prepare(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Progress == nil {
		cfg.Progress = os.Stderr
	}
	bin, err := binaries(ctx, cfg.Progress)
	if err != nil {
		return nil, err
	}
	home, err := daemon.NewHome(cmp.Or(cfg.Folder, parentFolder(cfg.Durable)), "idem-postgresql-")
	if err != nil {
		return nil, err
	}

	return &Server{bin: bin, settings: settings(cfg), home: home, password: rand.Text()}, nil
}

// DSN is the connection URL of a database, for the superuser. The database "postgres"
// exists from the start.
func (s *Server) DSN(database string) string { return s.dsnAt(s.address(), database) }

// dsnAt is DSN for an address that leads to the server.
func (s *Server) dsnAt(address, database string) string {
	dsn := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, s.password),
		Host:     address,
		Path:     database,
		RawQuery: "sslmode=disable",
	}

	return dsn.String()
}

func (s *Server) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Stop stops the server and removes its data. The Server cannot be used again.
func (s *Server) Stop() error {
	s.Crash()
	if err := s.home.Close(); err != nil {
		return fmt.Errorf("pgserver: %w", err)
	}

	return nil
}

// Crash stops the server the way a crash does: connections are cut, nothing is flushed.
// Recover starts it again.
func (s *Server) Crash() {
	if s.process != nil {
		s.process.Stop(syscall.SIGQUIT) // PostgreSQL's immediate shutdown
		s.process = nil
	}
}

// Recover starts a crashed server again, on the same data and port.
func (s *Server) Recover(ctx context.Context) error {
	if s.process != nil {
		return nil
	}
	if err := s.launch(ctx); err != nil {
		return fmt.Errorf("pgserver: %w", err)
	}

	return nil
}

// Restart is Crash and Recover.
func (s *Server) Restart(ctx context.Context) error {
	s.Crash()

	return s.Recover(ctx)
}

// createCluster makes the data folder. The locale C is the only one that every system has.
func (s *Server) createCluster(ctx context.Context) error {
	const passwordFile = "password"
	if err := s.home.WriteFile(passwordFile, []byte(s.password)); err != nil {
		return err
	}
	err := s.home.Run(ctx, filepath.Join(s.bin, "initdb"), "--pgdata="+s.dataDir(),
		"--username="+superuser, "--auth=scram-sha-256", "--pwfile="+s.home.Path(passwordFile),
		"--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	if err != nil {
		return fmt.Errorf("create the data folder: %w", err)
	}

	return nil
}

func (s *Server) launchOnFreePort(ctx context.Context) error {
	return daemon.OnFreePort(ctx, func(port int) error {
		s.port = port

		return s.launch(ctx)
	})
}

func (s *Server) launch(ctx context.Context) error {
	args := append([]string{"-D", s.dataDir(), "-p", strconv.Itoa(s.port)}, s.settings...)
	process, err := s.home.Start(ctx, s.letsIn, "postgres", filepath.Join(s.bin, "postgres"), args...)
	if err != nil {
		return err
	}
	s.process = process

	return nil
}

// letsIn returns nil if the superuser can connect. A foreign server on the same port does
// not know the password.
func (s *Server) letsIn(ctx context.Context) error {
	conn, err := pgconn.Connect(ctx, s.DSN("postgres"))
	if err == nil {
		_ = conn.Close(ctx) // The server is ready all the same.
	}

	return err
}

func (s *Server) dataDir() string { return s.home.Path("data") }

// settings are the arguments that configure the server.
func settings(cfg Config) []string {
	values := map[string]string{
		"listen_addresses":          "127.0.0.1",
		"unix_socket_directories":   "",
		"max_connections":           "300",
		"max_prepared_transactions": "10",
		"log_checkpoints":           off,
	}
	if !cfg.Durable {
		// synchronous_commit stays on: without it Crash would lose commits.
		values["fsync"], values["full_page_writes"] = off, off
	}
	maps.Copy(values, cfg.Settings)

	var args []string
	for name, value := range values {
		args = append(args, "-c", name+"="+value)
	}

	return args
}
