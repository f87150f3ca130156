package e2e_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/nova-events/idempotent-consumer/console"
	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/ops"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// secret is a part of all that nobody may be told: the passwords of PostgreSQL and of Kafka, wrong ones too, and values and
// headers of records. (Their keys are attributes of spans.)
const secret = "zebra"

const (
	databaseSecret = secret + "-database"
	kafkaSecret    = secret + "-kafka"
	wrongSecret    = secret + "-wrong"
)

// breach is what is wrong with a service, if anything, and what it says then.
type breach struct {
	dsn      string
	password string // of Kafka
	ca       string // by which Kafka's certificate is checked
	tls      *tls.Config
	brokers  []string
	handle   consume.Handler
	told     string
}

// The passwords of both servers, and what is in the records, are in no log at any level, in no error, metric or trace, and in
// nothing that idemctl prints or the console shows: not while all is well, nor whatever fails.
func TestSecretsAreToldNowhere(t *testing.T) { //nolint:tparallel // One relay at a time.
	t.Parallel()
	v := newVault(t, databaseSecret, kafkaSecret)
	p := newPatient(t, v.bench)
	other, stranger := certificate(t)
	otherCA := writeCA(t, other)
	port := strconv.Itoa(int(v.pool.Config().ConnConfig.Port))
	for name, change := range map[string]func(b *breach){ //nolint:paralleltest // As above.
		"all is well": func(*breach) {},
		"password of PostgreSQL": func(b *breach) {
			b.dsn, b.told = strings.Replace(b.dsn, databaseSecret, wrongSecret, 1), "password authentication failed"
		},
		"certificate of PostgreSQL": func(b *breach) {
			b.dsn, b.told = strings.Replace(b.dsn, url.QueryEscape(v.ca), url.QueryEscape(otherCA), 1), "certificate"
		},
		"PostgreSQL is away":       func(b *breach) { b.dsn, b.told = strings.Replace(b.dsn, ":"+port+"/", ":1/", 1), "connection refused" },
		"password of Kafka":        func(b *breach) { b.password, b.told = wrongSecret, "SASL" },
		"certificate of Kafka":     func(b *breach) { b.tls, b.ca, b.told = stranger, otherCA, "certificate" },
		"Kafka is away":            func(b *breach) { b.brokers, b.told = []string{"127.0.0.1:1"}, "connection refused" },
		"statement of the handler": func(b *breach) { b.handle, b.told = insertNowhere, "SQLSTATE 42P01" },
		"panic of the handler":     func(b *breach) { b.handle, b.told = panicking, "panic: at the handler" },
	} {
		t.Run(name, func(t *testing.T) {
			b := breach{dsn: v.dsn, password: kafkaSecret, ca: v.ca, tls: v.tls, brokers: v.brokers, handle: record}
			change(&b)
			told := v.suffer(t, b)
			p.brokers = v.target(b.brokers, b.password, b.ca)
			p.bench = &bench{pool: poolOf(t, b.dsn)}
			for _, command := range []string{"doctor", "status"} {
				stdout, stderr, status := p.run(t, command, "--json", "--timeout=10s")
				if b.told == "" && (status == 1 || strings.Contains(stdout, `"unknown"`)) {
					t.Errorf("%s: status %d\n%s%s", command, status, stdout, stderr)
				}
				told = append(told, stdout, stderr)
			}
			told = append(told, pages(t, p.pool)...)
			for line := range strings.Lines(strings.Join(told, "\n")) {
				if strings.Contains(line, secret) {
					t.Errorf("%q is told: %s", secret, line)
				}
			}
		})
	}
}

// pages are those of the console, for somebody who may not see payloads.
func pages(t *testing.T, pool *pgxpool.Pool) (bodies []string) {
	t.Helper()
	client, err := ops.New(pool, ops.Config{})
	if err != nil {
		t.Fatal(err)
	}
	handler, err := console.Handler(console.Config{Client: client, Authorize: console.Everybody(console.User{Name: "olga"}), Hosts: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/consumers", "/partitions", "/deadletters", "/event", "/leases", "/outbox", "/doctor"} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+path, nil))
		bodies = append(bodies, answer.Body.String())
		if answer.Code == http.StatusMisdirectedRequest {
			t.Errorf("%s: %s", path, answer.Body)
		}
	}

	return bodies
}

func insertNowhere(ctx context.Context, tx pgx.Tx, m consume.Message) error {
	_, err := tx.Exec(ctx, `INSERT INTO public.nowhere VALUES ($1)`, m.Value)

	return err
}

func panicking(context.Context, pgx.Tx, consume.Message) error { panic("at the handler") }

// suffer runs a consumer and a relay until what has to be told is told, or until their work is done, and returns all
// that was told.
func (v *vault) suffer(t *testing.T, b breach) (told []string) {
	t.Helper()
	login, err := newScramLogin(vaultUser, b.password)
	if err != nil {
		t.Fatal(err)
	}
	var log lines
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log.having(""))
		}
	})
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := &bench{broker: v.broker, topic: v.broker.CreateTopic(t, 1, nil), group: broker.Name(t), pool: poolOf(t, b.dsn)}
	header := kafka.Header{Key: "note", Value: []byte(secret)}
	v.broker.Write(t, s.topic, kafka.Message{Key: []byte("key"), Value: []byte(secret), Headers: []kafka.Header{header, {Key: consume.DefaultEventIDHeader, Value: []byte(s.group)}}})
	out := outbox.Record{Topic: s.topic, Key: []byte("key"), Value: []byte(secret), Headers: []consume.RecordHeader{{Key: header.Key, Value: header.Value}}}
	if err := pgx.BeginFunc(t.Context(), v.pool, func(tx pgx.Tx) error { return outbox.Publish(t.Context(), tx, out) }); err != nil {
		t.Fatal(err)
	}

	defer v.pool.Exec(context.WithoutCancel(t.Context()), `DELETE FROM idem.outbox`) //nolint:errcheck // Its topic goes with this test.

	o := newTelemetry(t, s.group)
	source := kafkaConfig{Brokers: b.brokers, TLS: b.tls, SASL: login}
	m := s.start(t, func(c *settings) {
		c.Brokers, c.TLS, c.SASL, c.consumer, c.Handle, c.Logger, c.guardLog = source.Brokers, source.TLS, source.SASL, s.group, b.handle, logger, logger
		c.Failure.Retry = consume.RetryPolicy{MaxAttempts: 2, FirstPause: time.Millisecond, LongestPause: time.Millisecond}
		o.watch(c)
	})
	producer, closeProducer, err := newSecureProducer(source, logger)
	if err != nil {
		t.Fatal(err)
	}
	defer closeProducer()
	relay, err := outbox.NewRelay(s.pool, producer, outbox.Config{Poll: 10 * time.Millisecond, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	relayed := make(chan error, 1)
	go func() { relayed <- relay.Run(ctx) }()
	until(t, b.told+" to be told", func() bool {
		if b.told != "" {
			return len(log.having(b.told)) > 0
		}
		var done bool
		err := v.pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM public.effects WHERE event_id = $1) AND NOT EXISTS (SELECT FROM idem.outbox)`, s.group).Scan(&done)

		return err == nil && done
	})
	told = append(told, fmt.Sprintf("%+v", m.Health()))
	stop()
	m.stop()
	told = append(told, fmt.Sprint(m.wait(t), <-relayed))
	for _, span := range o.spans.Ended() {
		told = append(told, fmt.Sprint(span.Name(), span.Attributes(), span.Events(), span.Status()))
	}
	var metrics metricdata.ResourceMetrics
	if err := o.reader.Collect(t.Context(), &metrics); err != nil {
		t.Fatal(err)
	}
	var letters []string
	if err := v.pool.QueryRow(t.Context(), `SELECT coalesce(array_agg(error), '{}') FROM idem.dead_letters`).Scan(&letters); err != nil {
		t.Fatal(err)
	}

	return slices.Concat(told, letters, log.having(""), []string{fmt.Sprintf("%+v", metrics)})
}
