package idem

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/schema"
)

// consumerID returns the id of a consumer's rows in all tables: the first 8 bytes, big-endian, of
// SHA-256. It follows from the name alone, so that no restore, replica or shard can give it to
// another consumer. The SQL function consumer_id computes the same.
func consumerID(name string) int64 {
	hash := sha256.Sum256([]byte("idem.consumer\x00" + name))

	return int64(binary.BigEndian.Uint64(hash[:8])) //nolint:gosec // All 64 bits are meant.
}

// Register writes the consumer's name and retention to the database, or checks them if the name is known
// already. Call it at start-up to find mistakes early: ErrNotMigrated, ErrSchemaVersion, a
// *RetentionConflictError, a database that does not answer. A second call costs nothing.
func (g *Guard) Register(ctx context.Context) error {
	if err := g.check(); err != nil {
		return err
	}

	return g.config.Retry.do(ctx, &g.retries, func() error { return g.register(ctx) })
}

// register registers the consumer, once.
func (g *Guard) register(ctx context.Context) error {
	if g.registered.Load() {
		return nil
	}
	err := g.onConn(ctx, func(conn db.DBTX) error {
		_, err := g.registerOn(ctx, conn)

		return err
	})
	if err != nil {
		return fmt.Errorf("idem: register consumer: %w", err)
	}
	g.setRegistered()

	return nil
}

// setRegistered notes that the consumer is registered, and not to be refused for its retention any more.
func (g *Guard) setRegistered() {
	g.agreed.Store(true)
	g.registered.Store(true)
}

// registerIn registers the consumer in the caller's transaction, if that may be rolled back.
func (g *Guard) registerIn(ctx context.Context, tx db.DBTX) error {
	if g.registered.Load() {
		return nil
	}
	found, err := g.registerOn(ctx, tx)
	if err != nil {
		return fmt.Errorf("idem: register consumer: %w", explain(err))
	}
	if found {
		g.setRegistered()
	}

	return nil
}

// registerOn reports whether the consumer was there. It reads before it writes, so that a role
// without the right to insert consumers can use those that are registered. A retention that an operator
// changes while the service runs is no reason to end: it is compared when the guard first registers.
func (g *Guard) registerOn(ctx context.Context, conn db.DBTX) (found bool, err error) {
	version, err := g.queries.SchemaVersion(ctx, conn)
	switch {
	case err != nil:
		return false, err
	case version < schema.Version:
		return false, fmt.Errorf("%w: the schema %q is at version %d, this release needs %d; run \"idemctl migrate up --schema %s\", or apply the newer scripts of \"idemctl migrate print\"",
			ErrSchemaVersion, g.config.Schema, version, schema.Version, g.config.Schema)
	}
	row, err := g.queries.ConsumerGet(ctx, conn, g.consumer)
	found = err == nil
	if errors.Is(err, pgx.ErrNoRows) {
		err = g.queries.ConsumerInsert(ctx, conn, db.ConsumerInsertParams{
			ID: g.consumer, Name: g.config.Consumer, Retention: cmp.Or(g.config.Retention, DefaultRetention),
		})
		if err == nil {
			row, err = g.queries.ConsumerGet(ctx, conn, g.consumer)
		}
	}
	want, registered := g.config.Retention, time.Duration(row.RetentionMicros)*time.Microsecond
	switch {
	case err != nil:
		return false, err
	case row.Name != g.config.Consumer:
		return false, fmt.Errorf("%w: the names %q and %q make the same id; choose another name for one of the consumers",
			ErrInvalidConfig, g.config.Consumer, row.Name)
	case row.Closed != nil:
		return false, fmt.Errorf("%w: it is being %s", ErrConsumerClosed, *row.Closed)
	case want != 0 && want != registered && !g.agreed.Load():
		return false, &RetentionConflictError{Consumer: g.config.Consumer, Configured: want, Registered: registered}
	}

	return found, nil
}

// Bind binds the consumer to a Kafka group of a cluster, or checks that it is bound to it. The first
// call decides. Two groups that share a consumer's name would take each other's events for their
// own, and each would process only a part. The error is a *BindingError if the consumer is bound
// elsewhere.
func (g *Guard) Bind(ctx context.Context, cluster, group string) error {
	return g.onPool(ctx, func(conn db.DBTX) error {
		row, err := g.queries.ConsumerGet(ctx, conn, g.consumer)
		if err == nil && row.BoundGroup == nil {
			if err = g.queries.ConsumerBind(ctx, conn, db.ConsumerBindParams{ID: g.consumer, BoundCluster: cluster, BoundGroup: group}); err == nil {
				row, err = g.queries.ConsumerGet(ctx, conn, g.consumer) // Somebody else may have been first.
			}
		}
		switch {
		case err != nil:
			return err
		case row.BoundCluster == nil || row.BoundGroup == nil || *row.BoundCluster != cluster || *row.BoundGroup != group:
			return &BindingError{
				Consumer: g.config.Consumer, Cluster: cluster, Group: group,
				BoundCluster: textOf(row.BoundCluster), BoundGroup: textOf(row.BoundGroup),
			}
		default:
			return nil
		}
	})
}

// textOf returns text from the database, or "" for null.
func textOf(text *string) string {
	if text == nil {
		return ""
	}

	return *text
}
