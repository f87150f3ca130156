package idem

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/db"
)

// Guard processes each event of one consumer once. It is safe for concurrent use; make one
// for each consumer name and pool and keep it.
type Guard struct {
	pool    *pgxpool.Pool
	config  Config
	queries *db.Queries
	names   *qualifier
	log     *slog.Logger

	// consumerID is zero until the consumer is registered. A name's id never changes.
	consumerID atomic.Int32
}

// New returns a Guard. It does no I/O: the consumer is registered by Register or by the first
// call that needs it. Errors wrap ErrInvalidConfig.
func New(pool *pgxpool.Pool, config Config) (*Guard, error) {
	if pool == nil {
		return nil, fmt.Errorf("%w: the pool is nil; make one with pgxpool.New", ErrInvalidConfig)
	}
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}

	return &Guard{
		pool:    pool,
		config:  config,
		queries: db.New(),
		names:   &qualifier{name: config.Schema},
		log:     config.Logger.With("consumer", config.Consumer),
	}, nil
}

// Consumer is the name whose events the guard judges.
func (g *Guard) Consumer() string { return g.config.Consumer }

// Register writes the consumer's name and retention to the database, or checks them where the
// name is known already. Calling it at start-up finds mistakes early: ErrNotMigrated, a
// *RetentionConflictError, a database that does not answer. Calling it again costs nothing.
func (g *Guard) Register(ctx context.Context) error {
	if err := g.check(); err != nil {
		return err
	}

	return g.config.Retry.do(ctx, g.log, func() error {
		_, err := g.register(ctx)

		return err
	})
}

// check refuses a Guard that is not made by New.
func (g *Guard) check() error {
	if g == nil || g.pool == nil {
		return fmt.Errorf("%w: the Guard is not made by New", ErrInvalidConfig)
	}

	return nil
}

// register returns the consumer's id.
func (g *Guard) register(ctx context.Context) (int32, error) {
	if id := g.consumerID.Load(); id != 0 {
		return id, nil
	}
	var consumer db.Consumer
	err := g.onConn(ctx, func(conn db.DBTX) error {
		var err error
		consumer, err = g.findOrInsert(ctx, conn)

		return err
	})
	if err != nil {
		return 0, fmt.Errorf("idem: register consumer: %w", err)
	}
	if want := g.config.Retention; want != 0 && want != consumer.Retention {
		return 0, &RetentionConflictError{Consumer: g.config.Consumer, Configured: want, Registered: consumer.Retention}
	}
	g.consumerID.Store(consumer.ID)

	return consumer.ID, nil
}

// findOrInsert reads before it writes, so that a role without the right to insert consumers
// can use those that are registered.
func (g *Guard) findOrInsert(ctx context.Context, conn db.DBTX) (db.Consumer, error) {
	consumer, err := g.queries.ConsumerByName(ctx, conn, g.config.Consumer)
	if !errors.Is(err, pgx.ErrNoRows) {
		return consumer, err //nolint:wrapcheck // The caller wraps it.
	}
	retention := cmp.Or(g.config.Retention, DefaultRetention)
	if err := g.queries.ConsumerInsert(ctx, conn, db.ConsumerInsertParams{Name: g.config.Consumer, Retention: retention}); err != nil {
		return db.Consumer{}, err //nolint:wrapcheck // The caller wraps it.
	}

	return g.queries.ConsumerByName(ctx, conn, g.config.Consumer) //nolint:wrapcheck // The caller wraps it.
}

// onConn runs statements of the guard's own, outside a transaction.
func (g *Guard) onConn(ctx context.Context, statements func(conn db.DBTX) error) error {
	conn, err := g.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("acquire a connection: %w", err)
	}
	defer conn.Release()
	err = explain(statements(g.names.on(conn)))
	closeReadOnly(ctx, conn, err)

	return err
}

// closeReadOnly closes a connection to a server that takes no writes, so that the pool makes
// a new one, perhaps to another server.
func closeReadOnly(ctx context.Context, conn *pgxpool.Conn, err error) {
	if errors.Is(err, errReadOnly) {
		_ = conn.Conn().Close(ctx)
	}
}
