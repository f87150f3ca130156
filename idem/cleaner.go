package idem

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/boundedlog"
	"github.com/nova-events/idempotent-consumer/schema"
)

// CleanerConfig describes a Cleaner. The zero value has good defaults.
type CleanerConfig struct {
	// Schema is the PostgreSQL schema of the guard's tables. Default "idem".
	Schema string

	// Interval is the mean time between the passes of Run. Each pause is random between half
	// and one and a half times as long, so that the instances of a service do not wake up
	// together. The first pass comes after at most a minute. At most 365 days. Default 1 hour.
	Interval time.Duration

	// Share is the part of the time in which a pass works; in the rest it pauses. A larger share
	// makes a pass faster and delays others more; 1 means no pauses. Default 0.2, which deletes
	// 80,000 to 100,000 events a second (docs/benchmarks.md).
	Share float64

	// Retry governs how the transient errors of each batch are retried.
	Retry RetryPolicy

	// Hook watches each pass. Default: none.
	Hook Hook[Op, CleanupEnd]

	// Progress is called after each batch, from the goroutine of the pass. Optional.
	Progress func(CleanupProgress)

	// Logger gets what Run did. Default: slog.Default.
	Logger *slog.Logger
}

// patience is after how many passes in a row that found another process cleaning up a Cleaner warns.
const patience = 3

// Cleaner forgets old events periodically. Every instance of a service may run a Cleaner: at most
// one works at a time. It cleans up for all consumers of a schema, each with its own retention.
type Cleaner struct {
	pool    *pgxpool.Pool
	config  CleanerConfig
	queries *db.Queries
	names   *qualifier
	retries retryLog
}

// maxInterval bounds CleanerConfig.Interval, far from what does not fit in a time.Duration.
const maxInterval = 365 * 24 * time.Hour

// NewCleaner returns a Cleaner. It does no I/O. Errors wrap ErrInvalidConfig.
func NewCleaner(pool *pgxpool.Pool, config CleanerConfig) (*Cleaner, error) {
	config.Schema = cmp.Or(config.Schema, schema.DefaultName)
	config.Interval = cmp.Or(config.Interval, time.Hour)
	config.Share = cmp.Or(config.Share, 0.2)
	config.Logger = boundedlog.New(config.Logger)
	config.Retry = config.Retry.withDefaults()
	if pool == nil {
		return nil, fmt.Errorf("%w: the pool is nil; make one with pgxpool.New", ErrInvalidConfig)
	}
	if config.Interval < 0 || config.Interval > maxInterval {
		return nil, fmt.Errorf("%w: Interval is %v; use more than 0, up to %v", ErrInvalidConfig, config.Interval, maxInterval)
	}
	if !(config.Share > 0 && config.Share <= 1) { // NaN is neither.
		return nil, fmt.Errorf("%w: Share is %v; use more than 0, up to 1", ErrInvalidConfig, config.Share)
	}
	if err := schema.Validate(config.Schema); err != nil {
		return nil, fmt.Errorf("%w: Schema: %w", ErrInvalidConfig, err)
	}
	if err := config.Retry.validate(); err != nil {
		return nil, err
	}

	return &Cleaner{pool: pool, config: config, queries: db.New(), names: &qualifier{name: config.Schema}, retries: retryLog{log: config.Logger}}, nil
}

// check refuses a Cleaner that is not made by NewCleaner.
func (c *Cleaner) check() error {
	if c == nil || c.pool == nil {
		return fmt.Errorf("%w: the Cleaner is not made by NewCleaner", ErrInvalidConfig)
	}

	return nil
}

// Run cleans up until ctx ends; then it stops at once, even in the middle of a pass, and returns
// nil. A pass that fails is logged, and the next pass tries again.
func (c *Cleaner) Run(ctx context.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	log := c.config.Logger
	behind := 0                                          // passes in a row in which another process did the work
	pause := rand.N(min(c.config.Interval, time.Minute)) //nolint:gosec // Jitter needs no secrecy.
	for backoff.Sleep(ctx, pause) {
		report, err := c.Clean(ctx)
		pause = c.config.Interval/2 + rand.N(c.config.Interval) //nolint:gosec // Jitter needs no secrecy.
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // It was stopped.
		case err != nil:
			log.WarnContext(ctx, "idem: cleanup failed, trying again", "pause", pause, "deleted", report.Deleted, "error", err)
		case report.Complete:
			behind = 0
			level, advice := slog.LevelInfo, ""
			if report.Elapsed > c.config.Interval { // A busy machine has a pass yield, and the table grows meanwhile.
				level, advice = slog.LevelWarn, ", in longer than the interval: a larger Share is faster"
			}
			log.Log(ctx, level, "idem: cleaned up"+advice, "deleted", report.Deleted, "batches", report.Batches, "elapsed", report.Elapsed)
		default:
			behind++
			level := slog.LevelInfo
			if behind >= patience {
				level = slog.LevelWarn // It may be one that holds the lead and does nothing.
			}
			log.Log(ctx, level, "idem: another process is cleaning up", "leader", report.Leader, "passes", behind)
		}
	}

	return nil
}
