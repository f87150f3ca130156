package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// forward is a handler that counts the events of a key, under the lock of its row, and publishes the count.
func forward(topic string) consume.Handler {
	return func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
		var version int
		err := tx.QueryRow(ctx, `INSERT INTO public.accounts VALUES ($1, 1) ON CONFLICT (key) DO UPDATE SET version = accounts.version + 1 RETURNING version`,
			string(m.Key)).Scan(&version)
		if err != nil {
			return err
		}

		return outbox.Publish(ctx, tx, outbox.Record{Topic: topic, Key: m.Key, Value: []byte(strconv.Itoa(version))})
	}
}

// envChain makes the test of the chain larger: how many events, and how many kills.
const envChain = "IDEM_TEST_CHAIN"

// consume → process → outbox → consume, while processes that consume and relay are killed, and the broker restarts: each event
// has its effect at the end of the chain once, and the records of each key come in their order.
func TestOutboxChain(t *testing.T) {
	t.Parallel()
	broker.EachFaulty(t, 1, func(t *testing.T, c *broker.Faulty) {
		const partitions, keys = 4, 100
		n, kills := 5_000, 5
		if size := os.Getenv(envChain); size != "" {
			if _, err := fmt.Sscanf(size, "%d,%d", &n, &kills); err != nil {
				t.Fatal(err)
			}
		}
		db := pgtest.NewDB(t)
		s := setupIn(t, c.Broker, partitions, db.Pool(t))
		middle := s.broker.CreateTopic(t, partitions, nil)
		for _, sql := range []string{
			`CREATE TABLE public.accounts (key text PRIMARY KEY, version int NOT NULL)`,
			`CREATE TABLE public.ledger (seq bigint GENERATED ALWAYS AS IDENTITY, key text, version int)`,
		} {
			if _, err := s.pool.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
		all := make([]kafka.Message, n)
		for i := range all {
			key := strconv.Itoa(i % keys)
			all[i] = kafka.Message{Partition: i % partitions, Key: []byte(key), Headers: []kafka.Header{{Key: consume.DefaultEventIDHeader, Value: []byte(strconv.Itoa(i))}}}
		}
		s.broker.Produce(t, s.topic, all, inBatches)

		end := &bench{broker: s.broker, topic: middle, group: broker.Name(t), pool: s.pool}
		last := end.start(t, func(c *settings) {
			c.consumer = "ledger"
			c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
				_, err := tx.Exec(ctx, `INSERT INTO public.ledger (key, version) VALUES ($1, $2::int)`, string(m.Key), string(m.Value))

				return err
			}
		})
		ledger := func() (lines int) {
			_ = s.pool.QueryRow(t.Context(), `SELECT count(*) FROM public.ledger`).Scan(&lines) // It may be away.

			return lines
		}
		began := time.Now()
		j := job{DSN: db.DSN, Middle: middle}
		workers := []*worker{s.startJob(t, j), s.startJob(t, j)}
		random := rand.New(rand.NewPCG(1, 2))
		for kill := range kills {
			share := n * (kill + 1) / (kills + 1)
			until(t, fmt.Sprintf("%d lines in the ledger", share), func() bool { return ledger() >= share })
			i := random.IntN(len(workers))
			workers[i].kill(t)
			workers[i] = s.startJob(t, j)
			if kill == kills/2 {
				c.Restart(t, c.Leader(t, middle, 0))
			}
		}
		until(t, "the whole ledger", func() bool { return ledger() >= n })
		s.awaitNoneInOutbox(t, "true")
		for _, w := range workers {
			w.dismiss(t)
		}
		end.awaitCommitted(t, end.sent(t, partitions))
		last.leave(t)
		took := time.Since(began)

		var lines, distinct, disorder int
		err := s.pool.QueryRow(t.Context(), `SELECT count(*), count(DISTINCT (key, version)), count(*) FILTER (WHERE version <> before + 1)
			FROM (SELECT key, version, coalesce(lag(version) OVER (PARTITION BY key ORDER BY seq), 0) AS before FROM public.ledger) l`).Scan(&lines, &distinct, &disorder)
		if err != nil {
			t.Fatal(err)
		}
		if lines != n || distinct != n || disorder > 0 {
			t.Errorf("%d events came %d times, %d of them out of order, want %d once", distinct, lines, disorder, n)
		}
		t.Logf("%d events, %d kills: %d duplicates on the way were removed, in %v", n, kills, end.sent(t, partitions)-int64(n), took)
	})
}

// sent is how many records the topic has.
func (s *bench) sent(t *testing.T, partitions int) (n int64) {
	t.Helper()
	for p := range partitions {
		first, last := s.broker.Ends(t, s.topic, p)
		n += last - first
	}

	return n
}
