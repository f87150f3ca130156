package idem

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrInvalidConfig is returned, with the reason, when a configuration, an option or an argument
	// of a call is not valid. It is found before any I/O.
	ErrInvalidConfig = errors.New("idem: invalid configuration")

	// ErrInvalidEventID is returned, with the reason, when an event id is empty, longer than
	// MaxEventIDBytes, not UTF-8 or contains a NUL byte. It is found before any I/O. The same
	// id will always be refused.
	ErrInvalidEventID = errors.New("idem: invalid event id")

	// ErrInvalidMetadata is returned, with the reason, when the metadata hold what jsonb
	// cannot: text with NUL characters, or a User part that is not JSON, too large, too deep
	// or with numbers outside jsonb's range. It is found before any I/O.
	ErrInvalidMetadata = errors.New("idem: invalid metadata")

	// ErrNotFound is returned by Lookup when the event is not processed, or forgotten, and by
	// NextDeadLetter when no dead letter is to be processed.
	// Resolve returns it when the claim did not take effect and nobody else's did.
	ErrNotFound = errors.New("idem: event not found")

	// ErrNotMigrated is returned when the guard's tables are not there. Run
	// "idemctl migrate up", or check Config.Schema.
	ErrNotMigrated = errors.New("idem: tables not found, run \"idemctl migrate up\" or check the schema's name")

	// ErrSchemaVersion is returned, with both versions, when the guard's tables are older than this
	// release. Run "idemctl migrate up" before the service starts. Newer tables are no error, so that
	// they can be migrated before the services are updated.
	ErrSchemaVersion = errors.New("idem: the tables are too old")

	// ErrCannotCleanUp is returned, with the reason, by a cleanup of a table that it cannot read in
	// heap order: one that is partitioned, has children or is distributed. Delete its expired rows
	// with a job of your own, partition by partition (docs/operations.md). It is returned, too, where the
	// table cleanup has lost its row, which whoever cleans up locks; the error says how to put it back. Dead
	// letters and leases are cleaned up all the same.
	ErrCannotCleanUp = errors.New("idem: the table processed_events cannot be cleaned up")

	// ErrConsumerClosed is returned, with the reason, when an operator is renaming or deleting the
	// consumer. When that has ended, start the service again with the new name.
	ErrConsumerClosed = errors.New("idem: the consumer is closed")

	// ErrOutcomeUnknown is returned when the connection was lost during COMMIT and within
	// RetryPolicy.ResolveTimeout no other connection could tell whether the transaction took
	// effect. It is safe to call again with the same event id: the event is processed once in
	// either case. So IsTransient reports true, but the guard does not retry by itself.
	ErrOutcomeUnknown = errors.New("idem: outcome of the commit unknown")

	// ErrHandlerTx is returned by Commit and Rollback of the transaction that a handler is given, and
	// instead of sending a statement that would end it, such as COMMIT; they do nothing. Return nil to
	// commit and an error to roll back. ExecIfNew returns it in a HandlerError and sends nothing. If the
	// handler ends the transaction in spite of that, through the connection (pgx.Tx.Conn) for instance, a
	// HandlerError wraps this error: the claim and the writes before that may
	// be committed, without the writes after it, so the guard does not try again. In a batch, and for
	// records that share a transaction, that applies to the claims of all.
	ErrHandlerTx = errors.New("idem: the transaction is ended by the guard, not by the handler")
)

// HandlerError is returned when the handler failed: it returned an error, left the transaction
// aborted or a query open, took longer than the server allows a transaction, or its writes were
// refused at COMMIT. Nothing that it did took effect (but see ErrHandlerTx), and the event stays
// claimable. A HandlerError wraps the handler's own error for errors.Is and errors.As.
type HandlerError struct {
	EventID string
	Err     error

	transient bool
	ended     bool // the transaction is not open any more
}

func (e *HandlerError) Error() string { return "idem: handler failed: " + e.Err.Error() }

// Unwrap returns the handler's own error.
func (e *HandlerError) Unwrap() error { return e.Err }

// RetentionConflictError is returned when a consumer is registered with another retention than
// Config.Retention when a Guard first uses it; a change after that is no error. Either change the
// configuration (zero means the registered retention), or change the registration with
// "idemctl consumer set-retention".
type RetentionConflictError struct {
	Consumer   string
	Configured time.Duration
	Registered time.Duration
}

func (e *RetentionConflictError) Error() string {
	return fmt.Sprintf("idem: consumer %q is registered with a retention of %v but configured with %v; to change it for all its processes run: idemctl consumer set-retention %s %v",
		e.Consumer, e.Registered, e.Configured, e.Consumer, e.Configured)
}

// BindingError is returned by Bind when the consumer is bound to another Kafka group, or to a group
// of another cluster. Give each group a consumer name of its own (Config.Consumer). If the group was
// renamed or moved for good, run "idemctl consumer rebind".
type BindingError struct {
	Consumer string
	// Cluster and Group are those that asked for it.
	Cluster, Group string
	// BoundCluster and BoundGroup are those that have it.
	BoundCluster, BoundGroup string
}

func (e *BindingError) Error() string {
	return fmt.Sprintf("idem: consumer %q belongs to the Kafka group %q of cluster %q, not to %q of %q; give each group a consumer name of its own, or run: idemctl consumer rebind %s",
		e.Consumer, e.BoundGroup, e.BoundCluster, e.Group, e.Cluster, e.Consumer)
}
