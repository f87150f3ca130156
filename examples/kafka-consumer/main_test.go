package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestOrdersTakeEffectOnce(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDB(t).Pool(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	err := withBroker(ctx, func(brokers []string) error {
		ended := make(chan error, 1)
		go func() { ended <- run(ctx, pool, brokers, slog.New(slog.DiscardHandler)) }()
		awaitEvent(ctx, t, pool, "order-2")
		awaitEvent(ctx, t, pool, "order-1")
		stop()

		return <-ended
	})
	if err != nil {
		t.Error(err)
	}
	var orders int
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM public.orders`).Scan(&orders); err != nil {
		t.Fatal(err)
	}
	if orders != 2 {
		t.Errorf("%d orders took effect, want 2", orders)
	}
}

// awaitEvent returns once the event is processed.
func awaitEvent(ctx context.Context, t *testing.T, pool *pgxpool.Pool, eventID string) {
	t.Helper()
	guard, err := idem.New(pool, idem.Config{Consumer: "order-service"})
	if err != nil {
		t.Fatal(err)
	}
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		processed, err := guard.IsProcessed(ctx, eventID)
		if err != nil {
			t.Fatal(err)
		}
		if processed {
			return
		}
		<-poll.C
	}
}
