// Tls-scram consumes a topic over connections that are encrypted and authenticated: TLS, and SASL with
// SCRAM-SHA-512. All of it comes from the environment. All else is as in kafka-consumer.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/scram"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

const usage = `set
  DATABASE_URL    such as postgres://user:password@host/database?sslmode=verify-full
  KAFKA_BROKERS   host:port,... of listeners with the protocol SASL_SSL
  KAFKA_USERNAME  and
  KAFKA_PASSWORD  of a user with SCRAM-SHA-512
  KAFKA_CA_FILE   only if the brokers' certificates are not signed by a public authority: PEM
The brokers have to be yours; for the PostgreSQL of examples/compose.yaml:
  docker compose up --detach --wait`

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	databaseURL, brokers := os.Getenv("DATABASE_URL"), os.Getenv("KAFKA_BROKERS")
	username, password := os.Getenv("KAFKA_USERNAME"), os.Getenv("KAFKA_PASSWORD")
	if databaseURL == "" || brokers == "" || username == "" || password == "" {
		return errors.New(usage)
	}
	encryption, err := trust(os.Getenv("KAFKA_CA_FILE"))
	if err != nil {
		return err
	}
	// With franzadapter: scram.Auth{User: username, Pass: password}.AsSha512Mechanism(), of franz-go.
	var login sasl.Mechanism
	if login, err = scram.Mechanism(scram.SHA512, username, password); err != nil {
		return fmt.Errorf("SCRAM-SHA-512: %w", err)
	}

	// The guard's tables. Who should create them, and when: see migrate-at-start.
	if err := migrate.Up(ctx, databaseURL, schema.DefaultName); err != nil {
		return err
	}
	// The guard warns if the connections to PostgreSQL leave this machine and sslmode does not verify
	// the server.
	pool, err := pgxpool.New(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	// The service's own table. A real service has migrations for it.
	_, err = pool.Exec(ctx, `CREATE TABLE IF NOT EXISTS public.secured_orders (event_id text, value text)`)
	if err != nil {
		return err
	}

	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	guard, err := idem.New(pool, idem.Config{Consumer: "secured-orders", Logger: log})
	if err != nil {
		return err
	}
	consumer, err := kafkaadapter.New(guard, kafkaadapter.Config{
		Brokers: strings.Split(brokers, ","),
		Group:   "secured-orders",
		Topics:  []string{"orders"},
		TLS:     encryption,
		SASL:    login,
	}, consume.Config{
		EventID: consume.Header("idempotency_key"),
		Logger:  log,
		Handle: func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			_, err := tx.Exec(ctx, `INSERT INTO public.secured_orders VALUES ($1, $2)`, m.EventID, string(m.Value))

			return err
		},
	})
	if err != nil {
		return err
	}

	return consumer.Run(ctx)
}

// trust returns what certificates of brokers are checked by: the authorities in the file, or without a
// file those of the system.
func trust(caFile string) (*tls.Config, error) {
	if caFile == "" {
		return &tls.Config{MinVersion: tls.VersionTLS12}, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("KAFKA_CA_FILE: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("KAFKA_CA_FILE: %s has no certificates", caFile)
	}

	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities}, nil
}
