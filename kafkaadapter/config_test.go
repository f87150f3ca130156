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

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func handle(context.Context, pgx.Tx, kafkaadapter.Message) error { return nil }

func handleBatch(context.Context, pgx.Tx, []kafkaadapter.Message) error { return nil }

func valid() kafkaadapter.Config {
	return kafkaadapter.Config{Brokers: []string{"127.0.0.1:1"}, Group: "g", Topics: []string{"t"}, Handle: handle}
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
	if _, err := kafkaadapter.New(guard, valid()); err != nil {
		t.Fatal(err)
	}
	if _, err := kafkaadapter.New(nil, valid()); !errors.Is(err, kafkaadapter.ErrInvalidConfig) {
		t.Errorf("nil guard: %v", err)
	}
	for want, spoil := range map[string]func(*kafkaadapter.Config){
		"Brokers is empty":  func(c *kafkaadapter.Config) { c.Brokers = nil },
		"empty address":     func(c *kafkaadapter.Config) { c.Brokers = []string{"a:1", ""} },
		"Group":             func(c *kafkaadapter.Config) { c.Group = "" },
		"either Topics":     func(c *kafkaadapter.Config) { c.Topics = nil },
		"or a TopicPattern": func(c *kafkaadapter.Config) { c.TopicPattern = regexp.MustCompile("t") },
		"what EventID's ids are unique in": func(c *kafkaadapter.Config) {
			c.Topics, c.EventID = []string{"a", "b"}, kafkaadapter.PayloadField("id")
		},
		"MaxStarts":             func(c *kafkaadapter.Config) { c.MaxStarts = -1 },
		"none of the constants": func(c *kafkaadapter.Config) { c.Mode = kafkaadapter.ByCheckpoint + 1 },
		"ParkKeys":              func(c *kafkaadapter.Config) { c.ParkKeys, c.Mode = true, kafkaadapter.ByEventID },
		"needs a Mode":          func(c *kafkaadapter.Config) { c.ParkKeys, c.OnFailure = true, kafkaadapter.StopOnFailure },
		"empty name":            func(c *kafkaadapter.Config) { c.Topics = []string{""} },
		"a topic twice":         func(c *kafkaadapter.Config) { c.Topics = []string{"a", "b", "a"} },
		"either Handle":         func(c *kafkaadapter.Config) { c.Handle = nil },
		"or HandleBatch":        func(c *kafkaadapter.Config) { c.HandleBatch = handleBatch },
		"HandleBatch needs": func(c *kafkaadapter.Config) {
			c.Handle, c.HandleBatch, c.Mode = nil, handleBatch, kafkaadapter.ByEventID
		},
		"too few for 99 Lanes":     func(c *kafkaadapter.Config) { c.Lanes = 99 },
		"Lanes or":                 func(c *kafkaadapter.Config) { c.Lanes = -1 },
		"LookAhead":                func(c *kafkaadapter.Config) { c.LookAhead = -1 },
		"Linger is 1s":             func(c *kafkaadapter.Config) { c.Linger = time.Second },
		"Linger is -1ns":           func(c *kafkaadapter.Config) { c.Handle, c.HandleBatch, c.Linger = nil, handleBatch, -1 },
		"Lanes does not":           func(c *kafkaadapter.Config) { c.Lanes, c.Mode = 2, kafkaadapter.ByCheckpoint },
		"not go with":              func(c *kafkaadapter.Config) { c.Lanes, c.ParkKeys = 2, true },
		"BatchSize":                func(c *kafkaadapter.Config) { c.BatchSize = -1 },
		"StartOffset":              func(c *kafkaadapter.Config) { c.StartOffset = 5 },
		"Retry.MaxAttempts is -2":  func(c *kafkaadapter.Config) { c.Retry.MaxAttempts = -2 },
		"the pauses 1m0s to 1s":    func(c *kafkaadapter.Config) { c.Retry.FirstPause, c.Retry.LongestPause = time.Minute, time.Second },
		"the total -1ns":           func(c *kafkaadapter.Config) { c.Retry.LongestTotal = -1 },
		"the Failures -2":          func(c *kafkaadapter.Config) { c.Breaker.Failures = -2 },
		"the Patience -1ns":        func(c *kafkaadapter.Config) { c.Breaker.Patience = -1 },
		"MaxBytes":                 func(c *kafkaadapter.Config) { c.MaxBytes = 1 << 31 },
		"MaxWait":                  func(c *kafkaadapter.Config) { c.MaxWait = -time.Second },
		"CommitInterval":           func(c *kafkaadapter.Config) { c.CommitInterval = time.Microsecond },
		"RebalanceTimeout":         func(c *kafkaadapter.Config) { c.RebalanceTimeout = 1000 * time.Hour },
		"less than SessionTimeout": func(c *kafkaadapter.Config) { c.HeartbeatInterval = time.Hour },
		"DrainTimeout":             func(c *kafkaadapter.Config) { c.DrainTimeout = 10 * time.Second },
		"TopicGrace":               func(c *kafkaadapter.Config) { c.TopicGrace = -1 },
	} {
		config := valid()
		spoil(&config)
		if _, err := kafkaadapter.New(guard, config); !errors.Is(err, kafkaadapter.ErrInvalidConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// Run waits for a database that is not there, and ends with its context.
func TestRunWaitsForPostgres(t *testing.T) {
	t.Parallel()
	consumer, err := kafkaadapter.New(newGuard(t), valid())
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
	consumer, err := kafkaadapter.New(newGuard(t), valid())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 2)
	for range 2 {
		go func() { ended <- consumer.Run(ctx) }()
	}
	if err := <-ended; !errors.Is(err, kafkaadapter.ErrRunning) {
		t.Errorf("the second Run returned %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the first Run returned %v", err)
	}
}
