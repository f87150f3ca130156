package idem

import (
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ProcessOption changes one call of Guard.ProcessIfNew or Owner.Replay. All options are process options.
// The error of an option, if any, is found before any I/O.
type ProcessOption interface{ apply(o *options) error }

// ExecOption changes one call of Guard.ExecIfNew: WithMetadata, WithFingerprint, WithIsolation and WithRetry.
type ExecOption interface {
	ProcessOption
	forExec()
}

// ClaimOption says what is stored with a claim. Guard.ClaimTx and Guard.MarkProcessed take no other options.
type ClaimOption interface {
	ExecOption
	forClaim()
}

// RecordOption changes one call of Owner.Process: WithHandlerDuration, WithDuplicate, WithIsolation and WithRetry. What is
// stored with the claim stands in the Event.
type RecordOption interface {
	ProcessOption
	forRecord()
}

// BatchOption changes one call that begins transactions. Guard.ProcessBatch, Owner.ProcessBatch and
// Owner.StoreDeadLetter take no other options.
type BatchOption interface {
	ExecOption
	RecordOption
	forBatch()
}

// options are what the options of a call have set.
type options struct {
	metadata       string // JSON, or empty
	fingerprint    Fingerprint
	isolation      pgx.TxIsoLevel
	retry          RetryPolicy
	recordDuration bool
	duplicate      *DuplicateKind // what a duplicate is; nil: nobody asks
}

// option is any of them; the types around it say which calls take it.
type option func(*options) error

func (f option) apply(o *options) error { return f(o) }

type claimOption struct{ option }

func (claimOption) forExec()  {}
func (claimOption) forClaim() {}

type recordOption struct{ option }

func (recordOption) forRecord() {}

type batchOption struct{ option }

func (batchOption) forExec()   {}
func (batchOption) forRecord() {}
func (batchOption) forBatch()  {}

// WithMetadata stores m with the claim, as jsonb. An error wraps ErrInvalidMetadata.
func WithMetadata(m Metadata) ClaimOption { //nolint:ireturn // Its type says which calls take it.
	return claimOption{func(o *options) error {
		text, err := m.marshal()
		o.metadata = text

		return err
	}}
}

// WithFingerprint stores the fingerprint of the event's payload with the claim. If the event was
// processed before with another one, the error is a *CollisionError.
func WithFingerprint(f Fingerprint) ClaimOption { //nolint:ireturn // Its type says which calls take it.
	return claimOption{func(o *options) error {
		o.fingerprint = f

		return nil
	}}
}

// WithHandlerDuration adds how long the handler took to the stored metadata, as handler_ms. It
// costs three more statements in the transaction. It works with a handler that sets its role.
// Nothing is stored for an event that is claimed by its checkpoint alone.
func WithHandlerDuration() RecordOption { //nolint:ireturn // Its type says which calls take it.
	return recordOption{func(o *options) error {
		o.recordDuration = true

		return nil
	}}
}

// WithIsolation sets the isolation level of the call, instead of Config.Isolation.
func WithIsolation(level pgx.TxIsoLevel) BatchOption { //nolint:ireturn // Its type says which calls take it.
	return batchOption{func(o *options) error {
		o.isolation = level

		return validateIsolation(level)
	}}
}

// WithRetry sets the policy for the call's transient errors, instead of Config.Retry.
func WithRetry(p RetryPolicy) BatchOption { //nolint:ireturn // Its type says which calls take it.
	return batchOption{func(o *options) error {
		o.retry = p.withDefaults()

		return o.retry.validate()
	}}
}

// applied returns the guard's options as some have changed them for one call.
func applied[O ProcessOption](g *Guard, opts []O) (options, error) {
	o := options{isolation: g.config.Isolation, retry: g.config.Retry}
	for _, opt := range opts {
		if any(opt) == nil {
			return options{}, fmt.Errorf("%w: an option is nil", ErrInvalidConfig)
		}
		if err := opt.apply(&o); err != nil {
			return options{}, err
		}
	}

	return o, nil
}
