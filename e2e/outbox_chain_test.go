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
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// forward is a handler that counts the events of a key, under the lock of its row, and publishes the count.
func forward(topic string) consume.Handler {
	return forwardAs(topic, func(consume.Message) string { return "" })
}

// forwardAs is forward with event ids.
func forwardAs(topic string, eventID func(m consume.Message) string) consume.Handler {
	return func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
		var version int
		err := tx.QueryRow(ctx, `INSERT INTO public.accounts VALUES ($1, 1) ON CONFLICT (key) DO UPDATE SET version = accounts.version + 1 RETURNING version`,
			string(m.Key)).Scan(&version)
		if err != nil {
			return err
		}

		return outbox.Publish(ctx, tx, outbox.Record{Topic: topic, Key: m.Key, Value: []byte(strconv.Itoa(version)), EventID: eventID(m)})
	}
}

// createAccounts creates what forward needs.
func (s *bench) createAccounts(t *testing.T) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), `CREATE TABLE public.accounts (key text PRIMARY KEY, version int NOT NULL)`); err != nil {
		t.Fatal(err)
	}
}

// ledger is the end of a chain. It writes down what forward has published.
type ledger struct {
	*bench
	*member
}

// startLedger starts a consumer of a topic.
func startLedger(t *testing.T, b *broker.Broker, topic string, pool *pgxpool.Pool) ledger {
	t.Helper()
	const create = `CREATE TABLE public.ledger (seq bigint GENERATED ALWAYS AS IDENTITY, key text, version int)`
	if _, err := pool.Exec(t.Context(), create); err != nil {
		t.Fatal(err)
	}
	s := &bench{broker: b, topic: topic, group: broker.Name(t), pool: pool}

	return ledger{s, s.start(t, func(c *settings) {
		c.consumer = "ledger"
		c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			_, err := tx.Exec(ctx, `INSERT INTO public.ledger (key, version) VALUES ($1, $2::int)`, string(m.Key), string(m.Value))

			return err
		}
	})}
}

func (l ledger) await(t *testing.T, n int) {
	t.Helper()
	until(t, fmt.Sprintf("%d lines in the ledger", n), func() bool {
		var lines int
		_ = l.pool.QueryRow(t.Context(), `SELECT count(*) FROM public.ledger`).Scan(&lines) // It may be away.

		return lines >= n
	})
}

// verify waits for the rest of the topic, and checks that each of n events has a line, and each key's are in their order. It returns how
// many duplicates the topic has.
func (l ledger) verify(t *testing.T, partitions, n int) (duplicates int) {
	t.Helper()
	sent := l.sent(t, partitions)
	l.awaitCommitted(t, sent)
	l.leave(t)
	var lines, distinct, disorder int
	err := l.pool.QueryRow(t.Context(), `SELECT count(*), count(DISTINCT (key, version)), count(*) FILTER (WHERE version <> before + 1)
		FROM (SELECT key, version, coalesce(lag(version) OVER (PARTITION BY key ORDER BY seq), 0) AS before FROM public.ledger) l`).Scan(&lines, &distinct, &disorder)
	if err != nil {
		t.Fatal(err)
	}
	if lines != n || distinct != n || disorder > 0 {
		t.Errorf("%d events came %d times, %d of them out of order, want %d once", distinct, lines, disorder, n)
	}

	return int(sent) - n
}

// inChain are events of some keys, each of them in one partition.
func inChain(first, n, partitions, keys int) []kafka.Message {
	all := make([]kafka.Message, n)
	for i := range all {
		id := first + i
		all[i] = kafka.Message{
			Partition: id % partitions, Key: []byte(strconv.Itoa(id % keys)),
			Headers: []kafka.Header{{Key: consume.DefaultEventIDHeader, Value: []byte(strconv.Itoa(id))}},
		}
	}

	return all
}

// envChain makes the test of the chain larger: how many events, and how many kills.
const envChain = "IDEM_TEST_CHAIN"

// consume → process → outbox → consume, while processes that consume and relay are killed, and the broker restarts again and
// again: each event has its effect at the end of the chain once, and the records of each key come in their order.
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
		s.createAccounts(t)
		middle := s.broker.CreateTopic(t, partitions, nil)
		s.broker.Produce(t, s.topic, inChain(0, n, partitions, keys), inBatches)
		end := startLedger(t, s.broker, middle, s.pool)
		began := time.Now()
		j := job{DSN: db.Service, Middle: middle}
		workers := []*worker{s.startJob(t, j), s.startJob(t, j)}
		random, restarts := rand.New(rand.NewPCG(1, 2)), 0
		replace := func(victims []*worker) {
			for i := range victims {
				victims[i].kill(t)
				victims[i] = s.startJob(t, j)
			}
		}
		for kill := range kills {
			end.await(t, n*(kill+1)/(kills+1))
			if kill == kills/2 { // all of them, while one has sent what it has not deleted
				unlock := s.awaitUndeleted(t)
				replace(workers)
				unlock()
			} else {
				i := random.IntN(len(workers))
				replace(workers[i : i+1])
			}
			if kill%3 == 1 {
				c.Restart(t, c.Leader(t, middle, 0))
				restarts++
			}
		}
		end.await(t, n)
		s.awaitNoneInOutbox(t, "true")
		for _, w := range workers {
			w.dismiss(t)
		}
		duplicates := end.verify(t, partitions, n)
		t.Logf("%d events, %d kills, %d restarts: %d duplicates on the way were removed, in %v", n, kills, restarts, duplicates, time.Since(began))
		if duplicates == 0 {
			t.Error("nothing came again")
		}
	})
}

// awaitUndeleted returns when Kafka has records that a relay has not deleted yet: one of them is locked until unlock is called.
func (s *bench) awaitUndeleted(t *testing.T) (unlock func()) {
	t.Helper()
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock = func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) } // It is harmless to do so twice.
	t.Cleanup(unlock)
	until(t, "a record to lock", func() bool {
		var id int64

		return tx.QueryRow(t.Context(), `SELECT id FROM idem.outbox LIMIT 1 FOR UPDATE SKIP LOCKED`).Scan(&id) == nil
	})
	until(t, "a relay that waits for the lock", func() (waits bool) {
		const blocked = `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid)))`

		return tx.QueryRow(t.Context(), blocked).Scan(&waits) == nil && waits
	})

	return unlock
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
