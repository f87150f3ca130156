// Package e2e_test runs the consumer against real brokers and a real PostgreSQL.
package e2e_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
)

// TestMain is also the main function of the workers, which run this program again.
func TestMain(m *testing.M) {
	if os.Getenv(envWorker) != "" {
		os.Exit(work(os.Stdin))
	}
	broker.Main(m)
}

// patience is how long to wait for what must happen. It is no measure of speed. internal/mutate makes it
// shorter for the code with a mechanism switched off, because there things often do not happen.
var patience = patienceOr(90 * time.Second)

const envPatience = "IDEM_TEST_PATIENCE"

func patienceOr(usual time.Duration) time.Duration {
	text := os.Getenv(envPatience)
	if text == "" {
		return usual
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(envPatience + ": " + err.Error())
	}

	return d
}

// bench is what most tests need: a topic, a group, a database, and a table in which the
// handlers leave a line for each record that takes effect.
type bench struct {
	broker *broker.Broker
	topic  string
	group  string
	pool   *pgxpool.Pool // of a service's role
	owner  *pgxpool.Pool // nil: pool is of the owner's role, or nobody asks for it
}

func setup(t testing.TB, b *broker.Broker, partitions int) *bench {
	t.Helper()

	db := pgtest.NewDB(t)
	s := setupIn(t, b, partitions, db.Pool(t, pgtest.MaxConns(16)))
	s.owner = db.OwnerPool(t)

	return s
}

func setupIn(t testing.TB, b *broker.Broker, partitions int, pool *pgxpool.Pool) *bench {
	t.Helper()
	s := &bench{broker: b, topic: b.CreateTopic(t, partitions, nil), group: broker.Name(t), pool: pool}
	_, err := pool.Exec(t.Context(), `CREATE TABLE public.effects (
		seq bigint GENERATED ALWAYS AS IDENTITY, event_id text, "partition" int, "offset" bigint, attempt int)`)
	if err != nil {
		t.Fatal(err)
	}

	return s
}

// setupVia is setup with a second view of the same, whose members reach PostgreSQL by a proxy.
func setupVia(t testing.TB, b *broker.Broker, partitions int) (s, through *bench, proxy *pgtest.Proxy) {
	t.Helper()
	db := pgtest.NewDB(t)
	proxy = pgtest.NewProxy(t, db)
	s = setupIn(t, b, partitions, db.Pool(t))
	s.owner = db.OwnerPool(t)
	view := *s
	view.pool = db.Pool(t, pgtest.Via(proxy.Addr()))

	return s, &view, proxy
}

// create creates another topic.
func (s *bench) create(t *testing.T, name string, partitions int) {
	t.Helper()
	_, err := s.broker.Client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: name, NumPartitions: partitions, ReplicationFactor: -1}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

const insertEffect = `INSERT INTO public.effects (event_id, "partition", "offset", attempt) VALUES ($1, $2, $3, $4)`

// record writes down that a record takes effect. It is the handler of most tests.
func record(ctx context.Context, tx pgx.Tx, m consume.Message) error {
	_, err := tx.Exec(ctx, insertEffect, m.EventID, m.Partition, m.Offset, m.Attempt)

	return err
}

// enqueue does the same as a handler that queues.
func enqueue(_ context.Context, queue *pgx.Batch, m consume.Message) error {
	queue.Queue(insertEffect, m.EventID, m.Partition, m.Offset, m.Attempt)

	return nil
}

// events are n records with the ids first, first+1, …, dealt out to the partitions.
func events(first, n, partitions int) []kafka.Message {
	all := make([]kafka.Message, n)
	for i := range all {
		id := strconv.Itoa(first + i)
		all[i] = kafka.Message{
			Partition: i % partitions, Key: []byte("k" + id), Value: []byte(`{"id":"` + id + `"}`),
			Headers: []kafka.Header{{Key: consume.DefaultEventIDHeader, Value: []byte(id)}},
		}
	}

	return all
}

// member is a running consumer.
type member struct {
	runner

	stop  context.CancelFunc
	ended chan error
}

// settings are all that a consumer is made of.
type settings struct {
	kafkaConfig
	consumeConfig

	guardHooks idem.Hooks
	guardLog   *slog.Logger // default slog.Default()
	consumer   string       // its name; "test" by default
}

type (
	kafkaConfig   = kafkaadapter.Config
	consumeConfig = consume.Config
)

// usualSession is the session timeout of members of which a test wants nothing else. With the shortest one a busy machine
// is late by more, and the group takes the partitions of a member that is well.
const usualSession = 6 * time.Second

// start starts a member of the group. change may be nil.
func (s *bench) start(t testing.TB, change func(*settings)) *member {
	t.Helper()
	c := settings{
		kafkaConfig: kafkaConfig{
			Brokers: s.broker.Addrs, Group: s.group, Topics: []string{s.topic},
			SessionTimeout: usualSession, HeartbeatInterval: 50 * time.Millisecond, MaxWait: 100 * time.Millisecond,
		},
		consumeConfig: consumeConfig{Handle: record, CommitInterval: 50 * time.Millisecond},
	}
	if change != nil {
		change(&c)
	}
	guard, err := idem.New(s.pool, idem.Config{Consumer: cmp.Or(c.consumer, "test"), Hooks: c.guardHooks, Logger: c.guardLog})
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := newConsumer(guard, c.kafkaConfig, c.consumeConfig)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	m := &member{runner: consumer, stop: cancel, ended: make(chan error, 1)}
	go func() { m.ended <- consumer.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-m.ended: //nolint:errcheck // Tests judge it with wait.
		case <-time.After(patience):
			t.Error("a consumer does not stop")
		}
	})

	return m
}

// wait returns what Run returned. It may be called more than once.
func (m *member) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-m.ended:
		m.ended <- err

		return err
	case <-time.After(patience):
		t.Fatal("Run does not return")

		return nil
	}
}

// leave stops a member in order.
func (m *member) leave(t *testing.T) {
	t.Helper()
	m.stop()
	if err := m.wait(t); err != nil {
		t.Errorf("Run returned %v after it was asked to stop", err)
	}
}

// until polls until happened returns true.
func until(t testing.TB, what string, happened func() bool) {
	t.Helper()
	deadline := time.After(patience)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !happened() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// letPass lets time pass: that in which something must not happen, that of an outage, or that which a handler takes. What
// must happen is awaited with until.
func letPass(d time.Duration) { time.Sleep(d) } //nolint:forbidigo // Here alone.

// effects counts the lines and the distinct events in them.
func (s *bench) effects(ctx context.Context) (lines, distinct int, err error) {
	err = s.pool.QueryRow(ctx, `SELECT count(*), count(DISTINCT event_id) FROM public.effects`).Scan(&lines, &distinct)

	return lines, distinct, err
}

func (s *bench) awaitEffects(t *testing.T, n int) {
	t.Helper()
	until(t, fmt.Sprintf("%d events to take effect", n), func() bool {
		_, distinct, err := s.effects(t.Context())

		return err == nil && distinct >= n // The database may be away.
	})
}

// awaitMembers returns once the group has settled with n members.
func (s *bench) awaitMembers(t *testing.T, n int) {
	t.Helper()
	until(t, fmt.Sprintf("a group of %d members", n), func() bool {
		members, err := s.broker.Members(t.Context(), s.group)

		return err == nil && members == n
	})
}

// committed is the sum of the group's offsets.
func (s *bench) committed(t *testing.T) (sum int64) {
	t.Helper()
	for _, offset := range s.broker.Committed(t, s.group, s.topic) {
		sum += offset
	}

	return sum
}

func (s *bench) awaitCommitted(t *testing.T, n int64) {
	t.Helper()
	until(t, fmt.Sprintf("%d records to be committed", n), func() bool { return s.committed(t) == n })
}

// verify checks that each event took effect once and that the records of each partition did in
// their order.
func (s *bench) verify(t *testing.T, n int) {
	t.Helper()
	s.verifyOnce(t, n)
	s.verifyOrder(t, `"partition"`)
}

// verifyOnce checks that each event took effect once.
func (s *bench) verifyOnce(t *testing.T, n int) {
	t.Helper()
	lines, distinct, err := s.effects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if lines != n || distinct != n {
		t.Errorf("%d events took effect %d times, want %d events once", distinct, lines, n)
	}
}

// verifyOrder checks that the records of each group took effect in their order.
func (s *bench) verifyOrder(t *testing.T, group string) {
	t.Helper()
	var disorder int
	err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM (
		SELECT "offset" < lag("offset") OVER (PARTITION BY `+group+` ORDER BY seq) AS back FROM public.effects) e WHERE back`).Scan(&disorder)
	if err != nil {
		t.Fatal(err)
	}
	if disorder > 0 {
		t.Errorf("%d records took effect after later ones of their %s", disorder, group)
	}
}
