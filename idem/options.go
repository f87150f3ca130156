package idem

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

const (
	maxUserMetadataBytes = 64 << 10
	maxMetadataKeyBytes  = 1 << 10
)

// Option changes one call. Its error, if any, is found before any I/O.
type Option func(*options) error

type options struct {
	metadata       string // JSON, or empty
	isolation      pgx.TxIsoLevel
	retry          RetryPolicy
	recordDuration bool

	// ownTransaction is set by options that make sense only where the guard begins the
	// transaction.
	ownTransaction bool
}

// Metadata is kept with the claim for people who look into it later (Lookup, "idemctl show",
// the view events). The guard itself never reads it. Zero fields are left out.
type Metadata struct {
	// Topic, Partition and Offset are the record's place in Kafka; the latter two count only
	// where Topic is set.
	Topic     string
	Partition int32
	Offset    int64
	// Key is the record's key. One of more than 1 KiB is left out.
	Key []byte
	// ProducerTime is the record's timestamp.
	ProducerTime time.Time
	// Host is the machine that processes the event.
	Host string
	// Attempt is the number of this delivery or try, from 1.
	Attempt int
	// User is the service's own: any JSON value of at most 64 KiB.
	User json.RawMessage
}

type metadataJSON struct {
	Topic        string          `json:"topic,omitempty"`
	Partition    *int32          `json:"partition,omitempty"`
	Offset       *int64          `json:"offset,omitempty"`
	Key          string          `json:"key,omitempty"`
	KeyBase64    []byte          `json:"key_base64,omitempty"`
	ProducerTime *time.Time      `json:"producer_time,omitempty"`
	Host         string          `json:"host,omitempty"`
	Attempt      int             `json:"attempt,omitempty"`
	User         json.RawMessage `json:"user,omitempty"`
}

// WithMetadata stores m with the claim, as jsonb. An error wraps ErrInvalidMetadata.
func WithMetadata(m Metadata) Option {
	return func(o *options) error {
		text, err := m.marshal()
		o.metadata = text

		return err
	}
}

func (m Metadata) marshal() (string, error) {
	if len(m.User) > maxUserMetadataBytes {
		return "", fmt.Errorf("%w: User has %d bytes, %d are allowed", ErrInvalidMetadata, len(m.User), maxUserMetadataBytes)
	}
	out := metadataJSON{Topic: m.Topic, Host: m.Host, Attempt: m.Attempt, User: m.User}
	if m.Topic != "" {
		out.Partition, out.Offset = &m.Partition, &m.Offset
	}
	if !m.ProducerTime.IsZero() {
		utc := m.ProducerTime.UTC()
		out.ProducerTime = &utc
	}
	switch {
	case len(m.Key) > maxMetadataKeyBytes:
	case utf8.Valid(m.Key) && !bytes.ContainsRune(m.Key, 0):
		out.Key = string(m.Key)
	default:
		out.KeyBase64 = m.Key
	}
	text, err := json.Marshal(out)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalidMetadata, err)
	}
	if string(text) == "{}" {
		return "", nil
	}

	return string(text), nil
}

// WithHandlerDuration adds how long the handler took to the stored metadata, as handler_ms.
// It costs one more statement in the transaction.
func WithHandlerDuration() Option {
	return func(o *options) error {
		o.recordDuration, o.ownTransaction = true, true

		return nil
	}
}

// WithIsolation runs the call at another isolation level than Config.Isolation.
func WithIsolation(level pgx.TxIsoLevel) Option {
	return func(o *options) error {
		o.isolation, o.ownTransaction = level, true

		return validateIsolation(level)
	}
}

// WithRetry retries the call's transient errors by another policy than Config.Retry.
func WithRetry(p RetryPolicy) Option {
	return func(o *options) error {
		o.retry, o.ownTransaction = p.withDefaults(), true

		return o.retry.validate()
	}
}
