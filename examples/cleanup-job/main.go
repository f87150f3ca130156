// Forget old events periodically, until the process is asked to stop. Several such jobs do not
// disturb each other: only one works at a time.
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/examples/internal/local"
	"github.com/nova-events/idempotent-consumer/idem"
)

func main() {
	interval := flag.Duration("interval", time.Hour, "mean time between two passes")
	flag.Parse()
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	local.Main(func(ctx context.Context, pool *pgxpool.Pool) error {
		return run(ctx, pool, *interval, log)
	})
}

func run(ctx context.Context, pool *pgxpool.Pool, interval time.Duration, log *slog.Logger) error {
	cleaner, err := idem.NewCleaner(pool, idem.CleanerConfig{
		Interval: interval,
		Logger:   log,
		Progress: func(p idem.CleanupProgress) {
			log.InfoContext(ctx, "cleaning up", "deleted", p.Deleted, "blocks", p.BlocksDone, "of", p.BlocksTotal)
		},
	})
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "cleanup job runs", "interval", interval)

	err = cleaner.Run(ctx) // returns nil at ^C or SIGTERM, even in the middle of a pass
	log.InfoContext(ctx, "cleanup job ends")

	return err
}
