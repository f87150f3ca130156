package idem

import "github.com/jackc/pgx/v5"

// Option changes one call. Its error, if any, is found before any I/O.
type Option func(*options) error

type options struct {
	metadata       string // JSON, or empty
	fingerprint    Fingerprint
	isolation      pgx.TxIsoLevel
	retry          RetryPolicy
	recordDuration bool
	owner          *Owner // nil: none
	advances       bool   // the owner's checkpoint, from offset to next
	offset, next   int64

	// ownTransaction is set by options that make sense only where the guard begins the
	// transaction.
	ownTransaction bool
}

// WithHandlerDuration adds how long the handler took to the stored metadata, as handler_ms.
// It costs three more statements in the transaction. A role that the handler sets does not matter.
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
