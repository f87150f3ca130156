package lease

import (
	"cmp"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/boundedlog"
	"github.com/nova-events/idempotent-consumer/internal/tables"
)

const (
	// DefaultDuration is how long a lease lasts by default, unless it is extended.
	DefaultDuration = 30 * time.Second

	// DefaultMaxResultBytes is how long the body of a result may be by default.
	DefaultMaxResultBytes = 1 << 20

	// NoBackoff (Config.Backoff) lets another attempt begin at once.
	NoBackoff = -1

	// minDuration leaves the heartbeats, at a third of it, a few round trips.
	minDuration = 100 * time.Millisecond
)

// Config describes Leases. The zero value has good defaults.
type Config struct {
	// Duration is how long a lease lasts after the last sign of life of its process: how long an event waits
	// after a crash. While an attempt runs, its lease is extended each third of it. A process that cannot reach
	// PostgreSQL for that long loses its leases. It has nothing to do with how long results are remembered,
	// which is the consumer's retention. At least 100 ms. Default 30 s.
	Duration time.Duration

	// Backoff is how long an event waits after an attempt that failed. It doubles with each attempt, up to
	// MaxBackoff. Default 1 s; NoBackoff is none.
	Backoff time.Duration

	// MaxBackoff bounds the pauses. Default 1 minute, or Backoff if that is more.
	MaxBackoff time.Duration

	// Unknown says what becomes of an event if nobody knows whether its last attempt took effect. Default
	// NeedsDecision.
	Unknown Policy

	// MaxResultBytes bounds the body of a result, of an event or a step. Default 1 MiB.
	MaxResultBytes int

	// Hooks watch attempts and steps, for traces and metrics. Default: none.
	Hooks Hooks

	// Logger gets what goes wrong while nobody waits for an error: leases that are lost, for instance. Default:
	// slog.Default; slog.New(slog.DiscardHandler) is silence.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Duration = cmp.Or(c.Duration, DefaultDuration)
	c.Backoff = cmp.Or(c.Backoff, time.Second)
	c.MaxBackoff = cmp.Or(c.MaxBackoff, max(time.Minute, c.Backoff))
	c.MaxResultBytes = cmp.Or(c.MaxResultBytes, DefaultMaxResultBytes)
	c.Logger = boundedlog.New(c.Logger)

	return c
}

func (c Config) validate() error {
	switch {
	case c.Duration < minDuration:
		return fmt.Errorf("%w: Duration is %v, less than %v", idem.ErrInvalidConfig, c.Duration, minDuration)
	case c.Backoff < NoBackoff:
		return fmt.Errorf("%w: Backoff is negative (%v); use NoBackoff for none", idem.ErrInvalidConfig, c.Backoff)
	case c.MaxBackoff < c.Backoff:
		return fmt.Errorf("%w: MaxBackoff %v is less than Backoff %v", idem.ErrInvalidConfig, c.MaxBackoff, c.Backoff)
	case c.Unknown.who == byFunction && c.Unknown.ask == nil:
		return fmt.Errorf("%w: the function of Ask is nil", idem.ErrInvalidConfig)
	case c.MaxResultBytes < 0:
		return fmt.Errorf("%w: MaxResultBytes is negative (%d)", idem.ErrInvalidConfig, c.MaxResultBytes)
	default:
		return nil
	}
}

// Leases run effects outside the transaction, for the consumer of a Guard: one attempt at a time for each event.
// They are safe for concurrent use. Make one for each operation, and keep it. Give each operation a consumer of its own: two
// that share one also share its events, and of an event the first to complete is the only one that runs.
type Leases struct {
	guard   *idem.Guard
	config  Config
	tables  tables.Tables
	queries *db.Queries
	log     *slog.Logger
	inStep  sync.Once // what may be a mistake was logged
}

// New returns Leases for the events of a guard's consumer. It does no I/O. Errors wrap idem.ErrInvalidConfig.
func New(guard *idem.Guard, config Config) (*Leases, error) {
	if guard == nil || guard.Pool() == nil {
		return nil, fmt.Errorf("%w: the Guard is not made by idem.New", idem.ErrInvalidConfig)
	}
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}

	return &Leases{
		guard: guard, config: config, tables: tables.Of(guard), queries: db.New(), log: config.Logger.With("consumer", guard.Consumer()),
	}, nil
}

// MaxResultBytes is that of the Config, with its default.
func (l *Leases) MaxResultBytes() int { return l.config.MaxResultBytes }

// pause is how long an event waits after so many attempts.
func (l *Leases) pause(attempts int) time.Duration {
	if l.config.Backoff == NoBackoff {
		return 0
	}

	return backoff.Exponential{Initial: l.config.Backoff, Max: l.config.MaxBackoff}.LongPause(attempts)
}
