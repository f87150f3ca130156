package consume_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
)

func handle(context.Context, pgx.Tx, consume.Message) error { return nil }

func handleBatch(context.Context, pgx.Tx, []consume.Message) error { return nil }

func valid() consume.Config { return consume.Config{Handle: handle, DrainTimeout: time.Second} }

func TestCompleteRefusesNonsense(t *testing.T) {
	t.Parallel()
	if _, err := valid().Complete(false); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*consume.Config){
		"MaxStarts":             func(c *consume.Config) { c.Failure.MaxStarts = -1 },
		"none of the constants": func(c *consume.Config) { c.Mode = consume.ByCheckpoint + 1 },
		"ParkKeys":              func(c *consume.Config) { c.Failure.ParkKeys, c.Mode = true, consume.ByEventID },
		"needs a Mode":          func(c *consume.Config) { c.Failure.ParkKeys, c.Failure.Policy = true, consume.StopOnFailure },
		"one of Handle":         func(c *consume.Config) { c.Handle = nil },
		"HandleQueue and":       func(c *consume.Config) { c.HandleBatch = handleBatch },
		"HandleBatch need": func(c *consume.Config) {
			c.Handle, c.HandleBatch, c.Mode = nil, handleBatch, consume.ByEventID
		},
		"Lanes.Count or":          func(c *consume.Config) { c.Lanes.Count = -1 },
		"LookAhead":               func(c *consume.Config) { c.Lanes.LookAhead = -1 },
		"Linger is 1s":            func(c *consume.Config) { c.Batch.Linger, c.OwnTransactions = time.Second, true },
		"Linger is -1ns":          func(c *consume.Config) { c.Handle, c.HandleBatch, c.Batch.Linger = nil, handleBatch, -1 },
		"Lanes do not":            func(c *consume.Config) { c.Lanes.Count, c.Mode = 2, consume.ByCheckpoint },
		"not go with":             func(c *consume.Config) { c.Lanes.Count, c.Failure.ParkKeys = 2, true },
		"Batch.Size":              func(c *consume.Config) { c.Batch.Size = -1 },
		"Start":                   func(c *consume.Config) { c.Start = consume.StartAt(time.Time{}) },
		"Retry.MaxAttempts is -2": func(c *consume.Config) { c.Failure.Retry.MaxAttempts = -2 },
		"the pauses 1m0s to 1s": func(c *consume.Config) {
			c.Failure.Retry.FirstPause, c.Failure.Retry.LongestPause = time.Minute, time.Second
		},
		"the total -1ns":    func(c *consume.Config) { c.Failure.Retry.LongestTotal = -1 },
		"the Failures -2":   func(c *consume.Config) { c.Failure.Breaker.Failures = -2 },
		"the Patience -1ns": func(c *consume.Config) { c.Failure.Breaker.Patience = -1 },
		"HandlerTimeout":    func(c *consume.Config) { c.HandlerTimeout = -1 },
		"CommitInterval":    func(c *consume.Config) { c.CommitInterval = time.Microsecond },
		"DrainTimeout":      func(c *consume.Config) { c.DrainTimeout = 0 },
		"DeadLetterSuffix":  func(c *consume.Config) { c.Failure.DeadLetterSuffix, c.Failure.Policy = "-dlt", consume.StopOnFailure },
	} {
		config := valid()
		spoil(&config)
		if _, err := config.Complete(false); !errors.Is(err, consume.ErrInvalidConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
