package outbox

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/schema"
)

const (
	// maxProduceTimeout is less than PostgreSQL takes for a timeout, in milliseconds and 31 bits.
	maxProduceTimeout = 24 * time.Hour

	// maxMaxBytes is far from what does not fit in 64 bits, times the records of a portion.
	maxMaxBytes = 1 << 30
)

// Config describes a Relay. The zero value has good defaults.
type Config struct {
	// Schema is the PostgreSQL schema of the tables. Default "idem".
	Schema string

	// EventIDHeader is the header that gets the event id. Consumers have to look there (consume.Header). Default
	// consume.DefaultEventIDHeader.
	EventIDHeader string

	// Poll is how long the relay pauses after it has found nothing, and so how long a record waits for it. While no transaction that
	// writes ends on the server a poll is one statement, which reads no table. Default 50 ms.
	Poll time.Duration

	// ProduceTimeout is how long the producer may take for what it is given at once. A relay that is frozen, or
	// cut off from PostgreSQL, keeps its turn for five seconds longer; then others go on in its place. A relay that stops
	// waits so long for its records. At most a day. Default 10 s.
	ProduceTimeout time.Duration

	// MaxBytes is how much the producer is given at once, about, or one larger record. It must be less than
	// what the producer and the topics take as a batch (max.message.bytes, 1 MiB by default). At most 1 GiB. Default 900,000.
	MaxBytes int

	// Logger gets what goes wrong: at once, then once a minute while it lasts, and when it has passed. Default
	// slog.Default().
	Logger *slog.Logger

	// Hooks watch the relay.
	Hooks Hooks
}

func (c Config) withDefaults() Config {
	c.Schema = cmp.Or(c.Schema, schema.DefaultName)
	c.EventIDHeader = cmp.Or(c.EventIDHeader, consume.DefaultEventIDHeader)
	c.Poll = cmp.Or(c.Poll, 50*time.Millisecond)
	c.ProduceTimeout = cmp.Or(c.ProduceTimeout, 10*time.Second)
	c.MaxBytes = cmp.Or(c.MaxBytes, 900_000)
	c.Logger = cmp.Or(c.Logger, slog.Default())

	return c
}

func (c Config) validate() error {
	if err := schema.Validate(c.Schema); err != nil {
		return fmt.Errorf("%w: %w", idem.ErrInvalidConfig, err)
	}
	if c.Poll < 0 || c.ProduceTimeout < 0 || c.MaxBytes < 0 {
		return fmt.Errorf("%w: a time or a size of the relay is negative", idem.ErrInvalidConfig)
	}
	if c.ProduceTimeout > maxProduceTimeout || c.MaxBytes > maxMaxBytes {
		return fmt.Errorf("%w: ProduceTimeout is %v and MaxBytes %d; use at most %v and %d", idem.ErrInvalidConfig,
			c.ProduceTimeout, c.MaxBytes, maxProduceTimeout, maxMaxBytes)
	}

	return nil
}
