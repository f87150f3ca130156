package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/nova-events/idempotent-consumer/internal/apachekafka"
	"github.com/nova-events/idempotent-consumer/internal/pgserver"
)

// servers are the PostgreSQL and the brokers of the demo: temporary ones, or the user's own.
type servers struct {
	dsn            string
	pair           *pgserver.Pair // of a demo with a failover
	postgres       string         // what it is, for people
	brokers        []string
	broker         string // what it is, for people
	sessionTimeout time.Duration
	stops          []func() error
}

func startServers(ctx context.Context, s settings, messages io.Writer) (_ *servers, err error) {
	all := &servers{}
	defer func() {
		if err != nil {
			err = errors.Join(err, all.stop())
		}
	}()
	if err := all.startPostgres(ctx, s, messages); err != nil {
		return nil, err
	}
	if err := all.startBroker(ctx, s, messages); err != nil {
		return nil, err
	}

	return all, nil
}

// stop stops the servers that were started.
func (all *servers) stop() error {
	var err error
	for _, stop := range all.stops {
		err = errors.Join(err, stop())
	}

	return err
}

// startPostgres starts a PostgreSQL that is as careful as one in production: each commit is
// on the disk before it is acknowledged.
func (all *servers) startPostgres(ctx context.Context, s settings, messages io.Writer) error {
	all.dsn = s.dsn
	config := pgserver.Config{Durable: true, Progress: messages}
	switch {
	case s.failover:
		_, _ = fmt.Fprintln(messages, "starting PostgreSQL and a standby")
		pair, err := pgserver.StartPair(ctx, config)
		if err != nil {
			return fmt.Errorf("start PostgreSQL: %w", err)
		}
		all.stops = append(all.stops, pair.Stop)
		all.pair, all.dsn = pair, pair.DSN("postgres")
	case s.dsn == "":
		_, _ = fmt.Fprintln(messages, "starting PostgreSQL")
		server, err := pgserver.Start(ctx, config)
		if err != nil {
			return fmt.Errorf("start PostgreSQL: %w", err)
		}
		all.stops = append(all.stops, server.Stop)
		all.dsn = server.DSN("postgres")
	}
	conn, err := pgx.Connect(ctx, all.dsn)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	var version, fsync string
	err = conn.QueryRow(ctx, `SELECT split_part(current_setting('server_version'), ' ', 1), current_setting('fsync')`).Scan(&version, &fsync)
	if err = errors.Join(err, conn.Close(ctx)); err != nil {
		return fmt.Errorf("ask PostgreSQL for its version: %w", err)
	}
	all.postgres = fmt.Sprintf("PostgreSQL %s (fsync %s)", version, fsync)

	return nil
}

func (all *servers) startBroker(ctx context.Context, s settings, messages io.Writer) error {
	all.sessionTimeout = 6 * time.Second // the shortest that Apache Kafka grants
	switch {
	case len(s.brokers) > 0:
		all.brokers, all.broker = s.brokers, strings.Join(s.brokers, ",")
	case s.broker == apacheKafka:
		_, _ = fmt.Fprintln(messages, "starting Apache Kafka")
		cluster, err := apachekafka.Start(ctx, apachekafka.Config{Progress: messages})
		if err != nil {
			return fmt.Errorf("start Apache Kafka: %w", err)
		}
		all.stops = append(all.stops, cluster.Stop)
		all.brokers, all.broker = cluster.Addrs(), "Apache Kafka "+apachekafka.DefaultVersion
	default:
		all.sessionTimeout = 2 * time.Second
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(all.sessionTimeout))
		if err != nil {
			return fmt.Errorf("start the in-process broker: %w", err)
		}
		all.stops = append(all.stops, func() error {
			cluster.Close()

			return nil
		})
		all.brokers, all.broker = cluster.ListenAddrs(), "the in-process broker"
	}

	return nil
}
