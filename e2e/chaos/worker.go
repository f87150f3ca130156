package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/history"
	"github.com/nova-events/idempotent-consumer/franzadapter"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
	"github.com/nova-events/idempotent-consumer/lease"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// envWorker makes this program a worker: a member of the group in a process of its own, which can be killed.
const envWorker = "IDEM_CHAOS_WORKER"

const (
	consumerName = "chaos"
	group        = "chaos"
	topic        = "events"
	outcomes     = "outcomes" // what the handlers of events publish

	outcomePartitions = 3

	sessionTimeout = 6 * time.Second // Kafka's shortest
)

// job is all that a worker needs to know. It comes through its input.
type job struct {
	character
	promise

	Name    string   `json:"name"`
	DSN     string   `json:"dsn"`
	Brokers []string `json:"brokers"`
	Folder  string   `json:"folder"` // of the histories

	Provider string `json:"provider"` // its address
}

// work consumes until it gets SIGTERM, or its input ends because its parent has. It returns the exit status.
func work(input io.Reader) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, stop, input); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "worker:", err)

		return 1
	}

	return 0
}

func serve(ctx context.Context, stop func(), input io.Reader) error {
	var j job
	orders := json.NewDecoder(input)
	if err := orders.Decode(&j); err != nil {
		return err
	}
	writer, err := history.NewWriter(j.Folder, j.Name)
	if err != nil {
		return err
	}
	defer writer.Close() //nolint:errcheck // Each line is written already.
	config, err := pgxpool.ParseConfig(j.DSN)
	if err != nil {
		return err
	}
	config.MaxConns = j.Connections
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	go func() {
		obey(ctx, orders, pool, log)
		stop()
	}()
	w := newWatcher(writer)
	guard, err := idem.New(pool, idem.Config{
		Consumer: consumerName, Isolation: pgx.TxIsoLevel(j.Isolation), Logger: log, Hooks: w.guardHooks(),
	})
	if err != nil {
		return err
	}
	leases, err := newLeases(pool, log)
	if err != nil {
		return err
	}
	h := &handlers{character: j.character, mode: j.Mode, pool: pool, watcher: w, leases: leases, provider: j.Provider}
	consumer, err := j.newConsumer(guard, h.config(consume.Config{ //nolint:contextcheck // New takes none.
		Mode: j.Mode, OnOutOfRange: consume.SkipToEarliest, Hooks: w.hooks(), CommitInterval: 200 * time.Millisecond, Logger: log,
		Failure: consume.FailureConfig{
			Retry:          consume.RetryPolicy{FirstPause: 20 * time.Millisecond, LongestPause: time.Second},
			ReplayInterval: 500 * time.Millisecond, ParkKeys: j.Parks,
		},
	}))
	if err != nil {
		return err
	}

	relay, closeProducer, err := j.newRelay(pool, log)
	if err != nil {
		return err
	}
	defer closeProducer()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	relayed := make(chan error, 1)
	go func() {
		defer cancel()
		relayed <- relay.Run(ctx)
	}()
	err = consumer.Run(ctx)
	cancel()

	return errors.Join(err, <-relayed)
}

// newLeases are of a consumer of their own: the handlers' transactions have claimed the events for theirs.
func newLeases(pool *pgxpool.Pool, log *slog.Logger) (*lease.Leases, error) {
	guard, err := idem.New(pool, idem.Config{Consumer: consumerName + "-charge", Logger: log})
	if err != nil {
		return nil, err
	}

	return lease.New(guard, lease.Config{Duration: leaseDuration, Backoff: lease.NoBackoff, Unknown: lease.Rerun(), Logger: log})
}

// newRelay takes the outbox to Kafka with the worker's adapter.
func (j job) newRelay(pool *pgxpool.Pool, log *slog.Logger) (*outbox.Relay, func(), error) {
	config := outbox.Config{ProduceTimeout: sendTimeout / 3, Logger: log}
	if j.Adapter == kafkaGo {
		producer, err := kafkaadapter.NewProducer(kafkaadapter.ProducerConfig{Brokers: j.Brokers, ClientID: j.Name, Logger: log})
		if err != nil {
			return nil, nil, err
		}
		relay, err := outbox.NewRelay(pool, producer, config)

		return relay, producer.Close, err
	}
	producer, err := franzadapter.NewProducer(franzadapter.ProducerConfig{Brokers: j.Brokers, ClientID: j.Name, Logger: log})
	if err != nil {
		return nil, nil, err
	}
	relay, err := outbox.NewRelay(pool, producer, config)

	return relay, producer.Close, err
}

// consumer is one of any adapter.
type consumer interface {
	Run(ctx context.Context) error
}

func (j job) newConsumer(guard *idem.Guard, config consume.Config) (consumer, error) { //nolint:ireturn // It is either.
	const heartbeat, maxWait = 200 * time.Millisecond, 100 * time.Millisecond
	if j.Adapter == kafkaGo {
		return kafkaadapter.New(guard, kafkaadapter.Config{
			Brokers: j.Brokers, ClientID: j.Name, Group: group, Topics: []string{topic, outcomes, fleeting, frail},
			SessionTimeout: sessionTimeout, HeartbeatInterval: heartbeat, MaxWait: maxWait, MaxBytes: j.MaxBytes,
		}, config)
	}
	source := franzadapter.Config{
		Brokers: j.Brokers, ClientID: j.Name, Group: group, Topics: []string{topic, outcomes, fleeting, frail},
		SessionTimeout: sessionTimeout, HeartbeatInterval: heartbeat, MaxWait: maxWait, MaxBytes: j.MaxBytes,
		ServerSideBalancer: j.Adapter == franzServer,
	}
	if j.Adapter == franzEager {
		source.Balancers = []kgo.GroupBalancer{kgo.RangeBalancer()}
	}

	return franzadapter.New(guard, source, config)
}
