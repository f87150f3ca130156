package examples_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/nova-events/idempotent-consumer/internal/apachekafka"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

const topic = "orders"

// records are those of produce-orders and two more, which some handlers refuse.
const records = 4 + 2

// startKafka starts an Apache Kafka for the test. What it returns waits for that.
func startKafka(t *testing.T) func() (*apachekafka.Cluster, error) {
	t.Helper()
	start := sync.OnceValues(func() (*apachekafka.Cluster, error) {
		return apachekafka.Start(context.WithoutCancel(t.Context()), apachekafka.Config{})
	})
	go func() { _, _ = start() }()
	t.Cleanup(func() {
		if cluster, err := start(); err == nil {
			if err := cluster.Stop(); err != nil {
				t.Error(err)
			}
		}
	})

	return start
}

// produceOrders runs the example produce-orders, adds two records and returns the brokers that have them.
func produceOrders(ctx context.Context, kafka func() (*apachekafka.Cluster, error), e example) (string, error) {
	cluster, err := kafka()
	if err != nil {
		return "", err
	}
	brokers := strings.Join(cluster.Addrs(), ",")
	if output, err := e.command(ctx, "KAFKA_BROKERS="+brokers).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", e.name, err, output)
	}

	return brokers, errors.Join(
		produce(ctx, "order-4", "no JSON", kgo.SeedBrokers(brokers)),
		produce(ctx, "order-5", `{"customer": "nobody", "cents": 1}`, kgo.SeedBrokers(brokers)))
}

func produce(ctx context.Context, eventID, value string, options ...kgo.Opt) error {
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()

	return client.ProduceSync(ctx, &kgo.Record{
		Topic: topic, Value: []byte(value), Headers: []kgo.RecordHeader{{Key: "idempotency_key", Value: []byte(eventID)}},
	}).FirstErr()
}

// brokers returns those that have the orders. It skips the test if Java or Maven is missing.
func (e example) brokers(t *testing.T) string {
	t.Helper()
	brokers, err := e.orders()
	needsInstall := errors.Is(err, apachekafka.ErrNoJava) || errors.Is(err, apachekafka.ErrNoMaven)
	if needsInstall && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}

	return brokers
}

// servers are the variables of the examples that read both.
func (e example) servers(t *testing.T, db *pgtest.DB) []string {
	t.Helper()

	return []string{"DATABASE_URL=" + db.DSN, "KAFKA_BROKERS=" + e.brokers(t)}
}

func checkProduceOrders(t *testing.T, e example) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(e.brokers(t)), kgo.ConsumeTopics(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var ids []string
	for len(ids) < records {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("found %q: %v", ids, err)
		}
		for record := range fetches.RecordsAll() {
			ids = append(ids, string(record.Headers[0].Value))
		}
	}
	slices.Sort(ids)
	if want := []string{"order-1", "order-1", "order-2", "order-3", "order-4", "order-5"}; !slices.Equal(ids, want) {
		t.Errorf("event ids %q, want %q", ids, want)
	}
}

func checkKafkaConsumer(t *testing.T, e example) {
	t.Helper()
	db := pgtest.NewEmptyDB(t)
	pool := db.Pool(t)
	e.until(t, "all was consumed", consumed(t, pool), e.servers(t, db)...)
	want := []string{"order-1 alice 1200", "order-2 bob 300", "order-3 alice 50", "order-5 nobody 1"}
	if got := query[string](t, pool, `SELECT concat_ws(' ', event_id, customer, cents) FROM public.orders ORDER BY 1`); !slices.Equal(got, want) {
		t.Errorf("orders %q, want %q", got, want)
	}
	wantDeadLetters(t, pool, "order-4")
}

func checkBatchHandler(t *testing.T, e example) {
	t.Helper()
	db := pgtest.NewEmptyDB(t)
	pool := db.Pool(t)
	e.until(t, "all was consumed", consumed(t, pool), e.servers(t, db)...)
	want := []string{"alice 1250", "bob 300", "nobody 1"}
	if got := query[string](t, pool, `SELECT concat_ws(' ', customer, cents) FROM public.revenue ORDER BY 1`); !slices.Equal(got, want) {
		t.Errorf("revenue %q, want %q", got, want)
	}
	wantDeadLetters(t, pool, "order-4")
}

func checkQueueHandler(t *testing.T, e example) {
	t.Helper()
	db := pgtest.NewEmptyDB(t)
	pool := db.Pool(t)
	e.until(t, "all was consumed", consumed(t, pool), e.servers(t, db)...)
	want := []string{"alice 8750", "bob 9700"}
	if got := query[string](t, pool, `SELECT concat_ws(' ', customer, cents) FROM public.accounts ORDER BY 1`); !slices.Equal(got, want) {
		t.Errorf("accounts %q, want %q", got, want)
	}
	wantDeadLetters(t, pool, "order-4", "order-5")
}

// consumed reports whether all records are processed.
func consumed(t *testing.T, pool *pgxpool.Pool) func() bool {
	t.Helper()

	return func() bool {
		if query[*string](t, pool, `SELECT to_regclass('idem.checkpoints')::text`)[0] == nil {
			return false
		}

		return query[int](t, pool, `SELECT coalesce(sum(next_offset), 0)::integer FROM idem.checkpoints`)[0] == records
	}
}

func wantDeadLetters(t *testing.T, pool *pgxpool.Pool, want ...string) {
	t.Helper()
	if got := query[string](t, pool, `SELECT event_id FROM idem.dead_letters ORDER BY 1`); !slices.Equal(got, want) {
		t.Errorf("dead letters %q, want %q", got, want)
	}
}

func checkTLSScram(t *testing.T, e example) {
	t.Helper()
	const user, password = "alice", "secret"
	web := httptest.NewTLSServer(nil) // Has a certificate for this machine.
	defer web.Close()
	server := web.TLS.Clone()
	server.NextProtos = nil
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic),
		kfake.TLS(server), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", user, password))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	authority := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	trusting := web.Client().Transport.(*http.Transport).TLSClientConfig //nolint:forcetypeassert // It is one.
	err = produce(t.Context(), "order-1", "secret order", kgo.SeedBrokers(cluster.ListenAddrs()...),
		kgo.DialTLSConfig(&tls.Config{RootCAs: trusting.RootCAs}),
		kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha512Mechanism()))
	if err != nil {
		t.Fatal(err)
	}

	db := pgtest.NewEmptyDB(t)
	pool := db.Pool(t)
	environment := []string{
		"DATABASE_URL=" + db.DSN, "KAFKA_BROKERS=" + strings.Join(cluster.ListenAddrs(), ","),
		"KAFKA_USERNAME=" + user, "KAFKA_PASSWORD=" + password, "KAFKA_CA_FILE=" + authority,
	}
	e.until(t, "the record was consumed", func() bool {
		return query[*string](t, pool, `SELECT to_regclass('public.secured_orders')::text`)[0] != nil &&
			slices.Equal(query[string](t, pool, `SELECT value FROM public.secured_orders`), []string{"secret order"})
	}, environment...)

	output, err := e.command(t.Context(), append(environment, "KAFKA_CA_FILE=README.md")...).CombinedOutput()
	if err == nil || !strings.Contains(string(output), "README.md has no certificates") {
		t.Errorf("with a file without certificates: %v\n%s", err, output)
	}
}
