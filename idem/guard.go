package idem

import (
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
	return g.config.Retry.do(ctx, g.log, func() error {
		_, err := g.register(ctx)

		return err
	})
}

// register returns the consumer's id. It reads before it writes, so that a role without the
// right to insert consumers can use those that are registered.
func (g *Guard) register(ctx context.Context) (int32, error) {
	if id := g.consumerID.Load(); id != 0 {
		return id, nil
	}
	pool := g.names.on(g.pool)
	consumer, err := g.queries.ConsumerByName(ctx, pool, g.config.Consumer)
	if errors.Is(err, pgx.ErrNoRows) {
		retention := g.config.Retention
		if retention == 0 {
			retention = DefaultRetention
		}
		if err := g.queries.ConsumerInsert(ctx, pool, db.ConsumerInsertParams{Name: g.config.Consumer, Retention: retention}); err != nil {
			return 0, fmt.Errorf("idem: register consumer: %w", err)
		}
		consumer, err = g.queries.ConsumerByName(ctx, pool, g.config.Consumer)
	}
	if err != nil {
		return 0, fmt.Errorf("idem: look up consumer: %w", explain(err))
	}
	if want := g.config.Retention; want != 0 && want != consumer.Retention {
		return 0, &RetentionConflictError{Consumer: g.config.Consumer, Configured: want, Registered: consumer.Retention}
	}
	g.consumerID.Store(consumer.ID)

	return consumer.ID, nil
}
