package kafkaadapter_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func handle(context.Context, pgx.Tx, consume.Message) error { return nil }

func handles() consume.Config { return consume.Config{Handle: handle} }

func valid() kafkaadapter.Config {
	return kafkaadapter.Config{Brokers: []string{"127.0.0.1:1"}, Group: "g", Topics: []string{"t"}}
}

func newGuard(t *testing.T) *idem.Guard {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), "postgres://nobody@127.0.0.1:1/none?connect_timeout=1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	guard, err := idem.New(pool, idem.Config{Consumer: "c", Retry: idem.RetryPolicy{MaxAttempts: 1}})
	if err != nil {
		t.Fatal(err)
	}

	return guard
}

func TestNewRefusesNonsense(t *testing.T) {
	t.Parallel()
	guard := newGuard(t)
	if _, err := kafkaadapter.New(guard, valid(), handles()); err != nil {
		t.Fatal(err)
	}
	if _, err := kafkaadapter.New(nil, valid(), handles()); !errors.Is(err, consume.ErrInvalidConfig) {
		t.Errorf("without a guard: %v", err)
	}
	patient := valid()
	patient.SessionTimeout = 2 * time.Minute
	if _, err := kafkaadapter.New(guard, patient, handles()); err != nil {
		t.Errorf("a long session: %v", err)
	}
	for want, spoil := range map[string]func(*kafkaadapter.Config, *consume.Config){
		"Brokers":           func(k *kafkaadapter.Config, _ *consume.Config) { k.Brokers = nil },
		"empty address":     func(k *kafkaadapter.Config, _ *consume.Config) { k.Brokers = []string{"a:1", ""} },
		"Group":             func(k *kafkaadapter.Config, _ *consume.Config) { k.Group = "" },
		"either Topics":     func(k *kafkaadapter.Config, _ *consume.Config) { k.Topics = nil },
		"or a TopicPattern": func(k *kafkaadapter.Config, _ *consume.Config) { k.TopicPattern = regexp.MustCompile("t") },
		"what EventID's ids are unique in": func(k *kafkaadapter.Config, c *consume.Config) {
			k.Topics, c.EventID = []string{"a", "b"}, consume.PayloadField("id")
		},
		"wrap it in InTopic": func(k *kafkaadapter.Config, c *consume.Config) {
			k.Topics, k.TopicPattern, c.EventID = nil, regexp.MustCompile("t"), consume.PayloadField("id")
		},
		"empty name":               func(k *kafkaadapter.Config, _ *consume.Config) { k.Topics = []string{""} },
		"a topic twice":            func(k *kafkaadapter.Config, _ *consume.Config) { k.Topics = []string{"a", "b", "a"} },
		"one of Handle":            func(_ *kafkaadapter.Config, c *consume.Config) { c.Handle = nil },
		"too few for 99 lanes":     func(_ *kafkaadapter.Config, c *consume.Config) { c.Lanes.Count = 99 },
		"MaxBytes":                 func(k *kafkaadapter.Config, _ *consume.Config) { k.MaxBytes = 1 << 31 },
		"MaxWait":                  func(k *kafkaadapter.Config, _ *consume.Config) { k.MaxWait = -time.Second },
		"RebalanceTimeout":         func(k *kafkaadapter.Config, _ *consume.Config) { k.RebalanceTimeout = 1000 * time.Hour },
		"less than SessionTimeout": func(k *kafkaadapter.Config, _ *consume.Config) { k.HeartbeatInterval = time.Hour },
		"DrainTimeout":             func(_ *kafkaadapter.Config, c *consume.Config) { c.DrainTimeout = 10 * time.Second },
		"TopicGrace":               func(k *kafkaadapter.Config, _ *consume.Config) { k.TopicGrace = -1 },
	} {
		source, config := valid(), handles()
		spoil(&source, &config)
		if _, err := kafkaadapter.New(guard, source, config); !errors.Is(err, consume.ErrInvalidConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// Run waits for a database that is not there, and ends with its context.
func TestRunWaitsForPostgres(t *testing.T) {
	t.Parallel()
	consumer, err := kafkaadapter.New(newGuard(t), valid(), handles())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := consumer.Run(ctx); err != nil || ctx.Err() == nil {
		t.Errorf("Run: %v, before its context ended: %t", err, ctx.Err() == nil)
	}
}

func TestRunTwice(t *testing.T) {
	t.Parallel()
	consumer, err := kafkaadapter.New(newGuard(t), valid(), handles())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 2)
	for range 2 {
		go func() { ended <- consumer.Run(ctx) }()
	}
	if err := <-ended; !errors.Is(err, consume.ErrRunning) {
		t.Errorf("the second Run returned %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the first Run returned %v", err)
	}
}
