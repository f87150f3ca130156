package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestForgetsAndStops(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDB(t).Pool(t)
	guard, err := idem.New(pool, idem.Config{Consumer: "payments", Retention: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guard.MarkProcessed(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, pool, 10*time.Millisecond, slog.New(slog.DiscardHandler)) }()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for known := true; known; {
		select {
		case <-poll.C:
		case err := <-ended:
			t.Fatalf("it ended: %v", err)
		}
		if known, err = guard.IsProcessed(t.Context(), "old"); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
