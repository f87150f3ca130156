package idem

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/internal/boundedlog"
	"github.com/nova-events/idempotent-consumer/internal/tables"
	"github.com/nova-events/idempotent-consumer/schema"
)

const (
	// DefaultRetention is how long event ids are remembered by default.
	DefaultRetention = 7 * 24 * time.Hour

	// Unlimited attempts (RetryPolicy.MaxAttempts) end only with the context.
	Unlimited = -1

	maxConsumerBytes = 255
)

// Config describes a Guard. Only Consumer is required.
type Config struct {
	// Consumer is the scope of deduplication: each consumer processes each event once. Give each
	// service that must see an event a name of its own; all instances of one service share the
	// name. 1 to 255 bytes of UTF-8.
	Consumer string

	// Schema is the PostgreSQL schema of the guard's tables. Default "idem".
	Schema string

	// Retention is how long the consumer's event ids are remembered: an event that is delivered
	// again later than this runs again. The retention is stored when the consumer is first
	// registered; after that, another value is a RetentionConflictError. Zero means the registered
	// retention, or DefaultRetention.
	Retention time.Duration

	// Isolation is the isolation level of the transactions that the guard begins. Default READ
	// COMMITTED, which is enough for the guard and causes the fewest retries.
	Isolation pgx.TxIsoLevel

	// Retry governs how transient errors are retried. The zero value has good defaults.
	Retry RetryPolicy

	// Hooks watch what the guard does, for traces and metrics. Default: none.
	Hooks Hooks

	// Logger gets retries, at level warn, and unknown outcomes. Values are cut at 8 KiB. Default:
	// slog.Default; slog.New(slog.DiscardHandler) is silence.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Schema = cmp.Or(c.Schema, schema.DefaultName)
	c.Isolation = cmp.Or(c.Isolation, pgx.ReadCommitted)
	c.Logger = boundedlog.New(c.Logger)
	c.Retry = c.Retry.withDefaults()

	return c
}

func (c Config) validate() error {
	switch {
	case c.Consumer == "":
		return fmt.Errorf("%w: Consumer is empty; name the service", ErrInvalidConfig)
	case len(c.Consumer) > maxConsumerBytes:
		return fmt.Errorf("%w: Consumer has %d bytes, %d are allowed", ErrInvalidConfig, len(c.Consumer), maxConsumerBytes)
	case !tables.IsText(c.Consumer):
		return fmt.Errorf("%w: Consumer is not UTF-8 without NUL bytes", ErrInvalidConfig)
	case c.Retention < 0:
		return fmt.Errorf("%w: Retention is negative (%v)", ErrInvalidConfig, c.Retention)
	case c.Retention%time.Microsecond != 0:
		return fmt.Errorf("%w: Retention %v is finer than PostgreSQL's microseconds", ErrInvalidConfig, c.Retention)
	}
	if err := schema.Validate(c.Schema); err != nil {
		return fmt.Errorf("%w: Schema: %w", ErrInvalidConfig, err)
	}
	if err := validateIsolation(c.Isolation); err != nil {
		return err
	}

	return c.Retry.validate()
}

func validateIsolation(level pgx.TxIsoLevel) error {
	switch level {
	case pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable:
		return nil
	case pgx.ReadUncommitted: // PostgreSQL treats it as READ COMMITTED; the caller should say that.
	}

	return fmt.Errorf("%w: isolation level %q; use pgx.ReadCommitted, pgx.RepeatableRead or pgx.Serializable", ErrInvalidConfig, level)
}
