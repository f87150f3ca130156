package e2e_test

import (
	"context"
	"crypto/tls"
	"errors"
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
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idemhttp"
	"github.com/nova-events/idempotent-consumer/internal/logbuffer"
	"github.com/nova-events/idempotent-consumer/lease"
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
			told = append(told, v.pages(t, p.pool)...)
			told = append(told, lend(t, p.pool, t.Name())...)
			for line := range strings.Lines(strings.Join(told, "\n")) {
				if strings.Contains(line, secret) {
					t.Errorf("%q is told: %s", secret, line)
				}
			}
		})
	}
}

// pages are those of the console, for somebody who may change all and see no payloads, and what it logs. Each page is of something
// that there is.
func (v *vault) pages(t *testing.T, pool *pgxpool.Pool) (told []string) {
	t.Helper()
	client, err := ops.New(pool, ops.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var log logbuffer.Buffer
	handler, err := console.Handler(console.Config{
		Client: client, Authorize: console.Everybody(console.User{Name: "olga", Change: true}), Hosts: []string{"localhost"}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	all, err := console.Handler(console.Config{Client: client, Authorize: console.Everybody(console.User{Name: "olga", Payloads: true}), Hosts: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	letter, record, shown := v.exhibit(t), v.refused(t), 0
	letters := "id=" + letter
	of := url.Values{"consumer": {lender}, "id": {lent}}.Encode()
	for _, path := range []string{
		"", "consumers", "consumer?name=" + lender, "retention?name=" + lender + "&amount=1&unit=days", "partitions", "deadletters", "deadletters?state=all", "deadletter?" + letters, "deadletters-replay?" + letters,
		"deadletters-discard?" + letters, "event", "event?" + of, "leases", "lease?" + of, "lease-took-effect?" + of, "lease-rerun?" + of, "outbox", "outboxrecord?id=" + record, "outbox-retry?id=" + record,
		"outbox-discard?id=" + record, "doctor", "nosuch", "deadletter?id=x", "lease?id=x", "outboxrecord?id=x",
	} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/"+path, nil))
		told = append(told, answer.Body.String())
		if answer.Code == http.StatusMisdirectedRequest || answer.Code == http.StatusForbidden {
			t.Errorf("%s: %s", path, answer.Body)
		}
		answer = httptest.NewRecorder()
		all.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/"+path, nil))
		if strings.Contains(answer.Body.String(), secret) {
			shown++
		}
	}
	if pool.Config().ConnString() == v.dsn && shown < 2 {
		t.Errorf("who may see payloads sees %d", shown) // Those of the dead letter and of the step.
	}

	return append(told, log.String())
}

const (
	lender = "lender"
	lent   = "order 1"
)

// exhibit stores a dead letter, and a lease that waits for a decision, with what is secret where a service may have it. It
// returns the id of the dead letter.
func (v *vault) exhibit(t *testing.T) (letter string) {
	t.Helper()
	guard, err := idem.New(v.pool, idem.Config{Consumer: lender})
	if err != nil {
		t.Fatal(err)
	}
	_, err = guard.Unfenced(idem.Partition{Topic: lender}).StoreDeadLetter(t.Context(), idem.DeadLetter{
		State: idem.DeadLetterOpen, Partition: idem.Partition{Topic: lender}, Key: []byte(secret), Value: []byte(secret), EventID: "refused", Error: "refused", Headers: []idem.DeadLetterHeader{{Key: "note", Value: []byte(secret)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	lend(t, v.pool, lent)
	if err := v.pool.QueryRow(t.Context(), `SELECT id::text FROM idem.dead_letters WHERE topic = $1`, lender).Scan(&letter); err != nil {
		t.Fatal(err)
	}

	return letter
}

// refused puts a record into the outbox that Kafka is said to refuse, and returns its id.
func (v *vault) refused(t *testing.T) (id string) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), v.pool, func(tx pgx.Tx) error {
		err := outbox.Publish(t.Context(), tx, outbox.Record{Topic: lender, Key: []byte(secret), Value: []byte(secret), Headers: []consume.RecordHeader{{Key: "note", Value: []byte(secret)}}})
		if err == nil {
			err = tx.QueryRow(t.Context(), `UPDATE idem.outbox SET state = 'failed', error = 'too large' RETURNING id::text`).Scan(&id)
		}

		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = v.pool.Exec(context.WithoutCancel(t.Context()), `DELETE FROM idem.outbox`) // No relay may send it.
	})

	return id
}

// lend has an effect outside the transaction not be answered after its first step, by a lease and by a request with a key,
// and returns what is told of it.
func lend(t *testing.T, pool *pgxpool.Pool, event string) (told []string) {
	t.Helper()
	var log logbuffer.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	guard, err := idem.New(pool, idem.Config{Consumer: lender, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	leases, err := lease.New(guard, lease.Config{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	effect := func(ctx context.Context, a *lease.Attempt) error {
		_, err := a.Step(ctx, "reserve", func(context.Context) (lease.Result, error) {
			return lease.Result{ContentType: "text/plain", Body: []byte(secret)}, nil
		})

		return errors.Join(err, lease.Unknown(errUnanswered))
	}
	_, err = leases.Do(t.Context(), event, func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
		return lease.Result{}, effect(ctx, a)
	})
	told = append(told, fmt.Sprintf("%v %+v", err, err))
	once, err := idemhttp.New(leases, idemhttp.Config{Scope: func(*http.Request) (string, error) { return "shop", nil }, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	handler := once(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a, ok := idemhttp.AttemptFrom(r.Context()); ok {
			_ = effect(r.Context(), a)
		}
		w.WriteHeader(http.StatusBadGateway)
	}))
	for range 2 {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/payments", strings.NewReader(secret))
		r.Header.Set("Idempotency-Key", url.QueryEscape(event))
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		told = append(told, fmt.Sprint(w.Code, w.Header(), w.Body))
	}

	return append(told, log.String())
}

var errUnanswered = errors.New("no answer")

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
	var log logbuffer.Buffer
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log.String())
		}
	})
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := &bench{broker: v.broker, topic: v.broker.CreateTopic(t, 1, nil), group: broker.Name(t), pool: poolOf(t, b.dsn)}
	header := kafka.Header{Key: "note", Value: []byte(secret)}
	trace := kafka.Header{Key: "traceparent", Value: fmt.Appendf(nil, "00-%032x-%016x-01", 1, 1)}
	v.broker.Write(t, s.topic, kafka.Message{Key: []byte("key"), Value: []byte(secret), Headers: []kafka.Header{header, trace, {Key: consume.DefaultEventIDHeader, Value: []byte(s.group)}}})
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
			return len(log.Having(b.told)) > 0
		}
		var done bool
		err := v.pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM public.effects WHERE event_id = $1) AND NOT EXISTS (SELECT FROM idem.outbox)`, s.group).Scan(&done)

		return err == nil && done
	})
	told = append(told, fmt.Sprintf("%+v", m.Health()))
	stop()
	m.stop()
	told = append(told, fmt.Sprint(m.wait(t), <-relayed))
	linked := false
	for _, span := range o.spans.Ended() {
		told = append(told, fmt.Sprint(span.Name(), span.Attributes(), span.Events(), span.Status(), span.Links(), span.Parent(), span.Resource(), span.InstrumentationScope()))
		linked = linked || len(span.Links()) > 0 || span.Parent().IsRemote()
	}
	if b.told == "" && !linked {
		t.Error("no span is linked to that of the producer")
	}
	var metrics metricdata.ResourceMetrics
	if err := o.reader.Collect(t.Context(), &metrics); err != nil {
		t.Fatal(err)
	}
	var letters []string
	if err := v.pool.QueryRow(t.Context(), `SELECT coalesce(array_agg(error), '{}') FROM idem.dead_letters`).Scan(&letters); err != nil {
		t.Fatal(err)
	}

	return slices.Concat(told, letters, []string{log.String(), fmt.Sprintf("%+v", metrics)})
}
