package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/nova-events/idempotent-consumer/internal/apachekafka"
	"github.com/nova-events/idempotent-consumer/internal/pgserver"
)

// postgresSettings keep checkpoints out of the measurements; each begins with one.
var postgresSettings = map[string]string{
	"shared_buffers":     "1GB",
	"max_wal_size":       "16GB",
	"checkpoint_timeout": "1h",
	"synchronous_commit": "on",
	"fsync":              "on",
	"full_page_writes":   "on",
}

// servers are the PostgreSQL and the broker of a run.
type servers struct {
	postgres *pgserver.Server
	brokers  []string
	broker   string // its kind, in the results
	version  string // of the broker
	stops    []func() error
}

func startServers(ctx context.Context, settings map[string]string, messages io.Writer) (_ *servers, err error) {
	all := &servers{}
	defer func() {
		if err != nil {
			err = errors.Join(err, all.stop())
		}
	}()
	_, _ = fmt.Fprintln(messages, "starting PostgreSQL")
	merged := maps.Clone(postgresSettings)
	maps.Copy(merged, settings)
	all.postgres, err = pgserver.Start(ctx, pgserver.Config{Durable: true, Settings: merged, Progress: messages})
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	all.stops = append(all.stops, all.postgres.Stop)

	return all, nil
}

// startBroker starts the broker that was asked for, or the in-process one where Apache Kafka
// cannot run.
func (all *servers) startBroker(ctx context.Context, s settings, messages io.Writer) error {
	if s.Broker == apacheKafka {
		_, _ = fmt.Fprintln(messages, "starting Apache Kafka")
		cluster, err := apachekafka.Start(ctx, apachekafka.Config{Progress: messages})
		if err == nil {
			all.stops = append(all.stops, cluster.Stop)
			all.brokers, all.broker = cluster.Addrs(), apacheKafka
			all.version = cmp.Or(os.Getenv("IDEM_TEST_KAFKA_VERSION"), apachekafka.DefaultVersion)

			return nil
		}
		if !errors.Is(err, apachekafka.ErrNoJava) && !errors.Is(err, apachekafka.ErrNoMaven) {
			return fmt.Errorf("start Apache Kafka: %w", err)
		}
		_, _ = fmt.Fprintln(messages, "THE IN-PROCESS BROKER STANDS IN FOR APACHE KAFKA:", err)
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		return fmt.Errorf("start the in-process broker: %w", err)
	}
	all.stops = append(all.stops, func() error {
		cluster.Close()

		return nil
	})
	all.brokers, all.broker = cluster.ListenAddrs(), inProcess

	return nil
}

// stop stops the servers and removes their data.
func (all *servers) stop() error {
	var err error
	for _, stop := range all.stops {
		err = errors.Join(err, stop())
	}
	all.stops = nil

	return err
}
