package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
)

// keep tells where the ledgers are and what to look at. A PostgreSQL of the demo's own goes on until
// the demo is interrupted.
func (d demo) keep(ctx context.Context) error {
	psql, remove, err := d.psql()
	if err != nil {
		return err
	}
	defer remove()
	d.sayf(`
The tables are kept. Look at them (the broker is at %s):

  %s
  SET search_path = %s;        -- %s and %s are there, too
  SELECT event_id, count(*) FROM ledger GROUP BY 1 HAVING count(*) > 1;
  SELECT * FROM consumers;
  SELECT topic, partition, next_offset, owner FROM checkpoints ORDER BY 1, 2;
  SELECT count(*), min(processed_at), max(processed_at) FROM processed_events;
`, strings.Join(d.servers.brokers, ","), psql, d.topic.group(guardedConsumer), d.topic.group(batchConsumer), d.topic.group(naiveConsumer))
	if d.dsn != "" {
		d.sayf("Remove them with DROP SCHEMA … CASCADE.")

		return nil
	}
	d.sayf("PostgreSQL goes on until you press Ctrl-C.")
	<-ctx.Done()

	return nil
}

// psql returns the command that connects to the demo's server, and what removes its password afterwards.
func (d demo) psql() (command string, remove func(), err error) {
	if d.dsn != "" {
		return "psql (with what --dsn says)", func() {}, nil
	}
	folder, err := os.MkdirTemp("", "idem-demo-")
	if err != nil {
		return "", nil, fmt.Errorf("make a folder for the password: %w", err)
	}
	command, err = psqlOf(d.servers.dsn, filepath.Join(folder, "pgpass"))

	return command, func() { _ = os.RemoveAll(folder) }, err
}

// psqlOf returns the command that connects to a server, and writes its password to a file, for it not to
// be seen.
func psqlOf(dsn, passwordFile string) (string, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return "", fmt.Errorf("read the database URL: %w", err)
	}
	if err := os.WriteFile(passwordFile, fmt.Appendf(nil, "*:*:*:*:%s\n", config.Password), 0o600); err != nil {
		return "", fmt.Errorf("write the password: %w", err)
	}

	return fmt.Sprintf("PGPASSFILE=%s psql -h %s -p %d -U %s %s", passwordFile, config.Host, config.Port, config.User, config.Database), nil
}
