package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-events/idempotent-consumer/internal/apachekafka"
	"github.com/nova-events/idempotent-consumer/internal/pgserver"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

const database = "postgres"

// stack is what the workers need: Apache Kafka behind a wire for each broker, and PostgreSQL behind a wire, a proxy that
// knows its protocol, and perhaps PgBouncer. A failover stays behind all that.
type stack struct {
	kafka   *apachekafka.Cluster
	brokers []string // as the clients know them
	wires   map[string]*wire

	disk    *disk // of PostgreSQL, or nil
	config  pgserver.Config
	pair    *pgserver.Pair
	bouncer *pgtest.PgBouncer // or nil
	bounces sync.Mutex        // held while it is ended or started
	proxy   *pgtest.Proxy
	wire    *wire  // to the proxy
	dsn     string // of the workers

	provider *provider

	pool  *pgxpool.Pool // ours, past all that but the failover
	admin *kgo.Client
}

func (s *stack) startKafka(ctx context.Context, p plan) (err error) {
	s.wires = map[string]*wire{}
	var failed error
	s.kafka, err = apachekafka.Start(ctx, apachekafka.Config{
		Brokers: 3,
		Settings: map[string]string{
			"group.consumer.min.session.timeout.ms": "6000", "group.consumer.session.timeout.ms": "6000",
			"group.consumer.min.heartbeat.interval.ms": "500", "group.consumer.heartbeat.interval.ms": "500",
		},
		Advertise: func(addr string) string {
			if s.wires[addr] == nil {
				w, err := newWire(ctx, addr)
				if err != nil {
					failed = err

					return addr
				}
				s.wires[addr] = w
			}

			return s.wires[addr].addr()
		},
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	for _, addr := range s.kafka.Addrs() {
		s.brokers = append(s.brokers, s.wires[addr].addr())
	}
	if s.admin, err = kgo.NewClient(kgo.SeedBrokers(s.brokers...)); err != nil {
		return err
	}

	return errors.Join(createTopic(ctx, s.admin, topic, p.partitions), createTopic(ctx, s.admin, outcomes, outcomePartitions))
}

func (s *stack) startPostgres(ctx context.Context, p plan, sayf func(format string, args ...any)) (err error) {
	s.config.Settings = map[string]string{
		"max_wal_size":           "160MB", // The disk is small.
		"track_commit_timestamp": "on",    // The order of effects is that of their commits.
	}
	if p.forgetful {
		maps.Copy(s.config.Settings, pgserver.Forgetful())
	}
	if s.disk, err = mountDisk(ctx); err == nil {
		s.config.Folder = s.disk.folder
	} else {
		sayf("without a disk that can be full: %v", err)
	}
	if s.pair, err = pgserver.StartPair(ctx, s.config); err != nil {
		return err
	}
	dsn := s.pair.DSN(database)
	if err := migrate.Up(ctx, dsn, schema.DefaultName); err != nil {
		return err
	}
	if s.pool, err = pgxpool.New(ctx, dsn+"&pool_max_conns=10&connect_timeout=5"); err != nil {
		return err
	}
	if _, err := s.pool.Exec(ctx, createTables); err != nil {
		return err
	}
	behind, err := s.createWorker(ctx, dsn)
	if err != nil {
		return err
	}
	if p.pgBouncer {
		s.bouncer, err = pgtest.LaunchPgBouncer(ctx, behind, "transaction")
		switch {
		case errors.Is(err, pgtest.ErrNoPgBouncer):
			sayf("without PgBouncer: %v", err)
		case err != nil:
			return err
		default:
			behind = s.bouncer.DSN
		}
	}
	if s.proxy, err = pgtest.StartProxy(ctx, behind); err != nil {
		return err
	}
	if s.wire, err = newWire(ctx, s.proxy.Addr().String()); err != nil {
		return err
	}
	s.dsn, err = through(behind, s.wire.addr())
	if s.bouncer != nil && !s.bouncer.PreparedStatements {
		s.dsn += "&default_query_exec_mode=exec"
	}

	return err
}

// createWorker makes the role of the workers, with the rights of a service and no more. It returns their connection string.
func (s *stack) createWorker(ctx context.Context, dsn string) (string, error) {
	const role = "worker"
	grants, err := schema.Grants(schema.DefaultName, role)
	if err != nil {
		return "", err
	}
	password := rand.Text()
	_, err = s.pool.Exec(ctx, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s';\n%s%s", role, password, grants, grantTables))
	if err != nil {
		return "", err
	}
	parsed, err := url.Parse(dsn)
	if err != nil {
		return "", errors.New("the connection string cannot be parsed") // The cause may show the password.
	}
	parsed.User = url.UserPassword(role, password)

	return parsed.String(), nil
}

// through returns a connection string that leads to another address.
func through(dsn, addr string) (string, error) {
	parsed, err := url.Parse(dsn)
	if err != nil {
		return "", errors.New("the connection string cannot be parsed") // The cause may show the password.
	}
	parsed.Host = addr

	return parsed.String() + "&connect_timeout=5", nil
}

// stop ends everything that was started.
func (s *stack) stop() error {
	if s.admin != nil {
		s.admin.Close()
	}
	if s.pool != nil {
		s.pool.Close()
	}
	if s.wire != nil {
		s.wire.close()
	}
	if s.proxy != nil {
		s.proxy.Close()
	}
	var errs []error
	if s.provider != nil {
		errs = append(errs, s.provider.stop())
	}
	if s.bouncer != nil {
		errs = append(errs, s.bouncer.Stop())
	}
	if s.pair != nil {
		errs = append(errs, s.pair.Stop())
	}
	if s.disk != nil {
		errs = append(errs, s.disk.unmount())
	}
	if s.kafka != nil {
		errs = append(errs, s.kafka.Stop())
	}
	for _, w := range s.wires {
		w.close()
	}

	return errors.Join(errs...)
}

// supervise starts PgBouncer again whenever it has ended, until the context ends. Versions before 1.19 also end by
// themselves, at a request to cancel whose client has gone.
func (s *stack) supervise(ctx context.Context, sayf func(format string, args ...any)) {
	for s.bouncer != nil && ctx.Err() == nil {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", s.bouncer.Addr.String())
		if err == nil {
			_ = conn.Close()
		} else if ctx.Err() == nil {
			s.bounces.Lock()
			err := s.bouncer.Recover(ctx)
			s.bounces.Unlock()
			sayf("PgBouncer was started again: %v", err)
		}
		wait(ctx, time.Second)
	}
}

// mend takes back all faults.
func (s *stack) mend(ctx context.Context) error {
	s.proxy.Resume()
	s.wire.set(weather{})
	for _, w := range s.wires {
		w.set(weather{})
	}
	if err := s.kafka.Recover(ctx); err != nil {
		return fmt.Errorf("mend Kafka: %w", err)
	}

	return nil
}

// wireOf is the wire to a broker by its id.
func (s *stack) wireOf(id int) *wire { return s.wires[s.kafka.Addrs()[id-1]] }
