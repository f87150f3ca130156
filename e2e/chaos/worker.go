package main

import (
	"context"
	"encoding/json"
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
)

// envWorker makes this program a worker: a member of the group in a process of its own, which can be killed.
const envWorker = "IDEM_CHAOS_WORKER"

const (
	consumerName = "chaos"
	group        = "chaos"
	topic        = "events"

	sessionTimeout = 6 * time.Second // Kafka's shortest
)

// job is all that a worker needs to know. It comes through its input.
type job struct {
	character

	Name    string   `json:"name"`
	DSN     string   `json:"dsn"`
	Brokers []string `json:"brokers"`
	Folder  string   `json:"folder"` // of the histories
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
	if err := json.NewDecoder(input).Decode(&j); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, input)
		stop()
	}()
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
	w := newWatcher(writer)
	guard, err := idem.New(pool, idem.Config{
		Consumer: consumerName, Isolation: pgx.TxIsoLevel(j.Isolation), Logger: log, Hooks: w.guardHooks(),
	})
	if err != nil {
		return err
	}
	h := &handlers{character: j.character, pool: pool, watcher: w}
	consumer, err := j.newConsumer(guard, h.config(consume.Config{ //nolint:contextcheck // New takes none.
		Hooks: w.hooks(), CommitInterval: 200 * time.Millisecond, Logger: log,
		Failure: consume.FailureConfig{
			Retry:          consume.RetryPolicy{FirstPause: 20 * time.Millisecond, LongestPause: time.Second},
			ReplayInterval: 500 * time.Millisecond,
		},
	}))
	if err != nil {
		return err
	}

	return consumer.Run(ctx)
}

// consumer is one of any adapter.
type consumer interface {
	Run(ctx context.Context) error
}

func (j job) newConsumer(guard *idem.Guard, config consume.Config) (consumer, error) { //nolint:ireturn // It is either.
	const heartbeat, maxWait = 200 * time.Millisecond, 100 * time.Millisecond
	if j.Adapter == kafkaGo {
		return kafkaadapter.New(guard, kafkaadapter.Config{
			Brokers: j.Brokers, ClientID: j.Name, Group: group, Topics: []string{topic},
			SessionTimeout: sessionTimeout, HeartbeatInterval: heartbeat, MaxWait: maxWait, MaxBytes: j.MaxBytes,
		}, config)
	}
	source := franzadapter.Config{
		Brokers: j.Brokers, ClientID: j.Name, Group: group, Topics: []string{topic},
		SessionTimeout: sessionTimeout, HeartbeatInterval: heartbeat, MaxWait: maxWait, MaxBytes: j.MaxBytes,
		ServerSideBalancer: j.Adapter == franzServer,
	}
	if j.Adapter == franzEager {
		source.Balancers = []kgo.GroupBalancer{kgo.RangeBalancer()}
	}

	return franzadapter.New(guard, source, config)
}
