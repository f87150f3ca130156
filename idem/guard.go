package idem

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/sqlbridge"
	"github.com/nova-events/idempotent-consumer/internal/unverified"
)

// Guard processes each event of one consumer once. It is safe for concurrent use; make one
// for each consumer name and pool and keep it.
type Guard struct {
	pool    *pgxpool.Pool
	store   sqlbridge.Store // instead of pool, for package idemsql
	config  Config
	queries *db.Queries
	names   *qualifier
	log     *slog.Logger
	retries retryLog

	consumer   int64 // consumerID of its name
	registered atomic.Bool
	agreed     atomic.Bool // the registered retention was the configured one when it was first compared
}

// New returns a Guard. It does no I/O: the consumer is registered by Register or by the first
// call that needs it. It warns (Config.Logger) if the pool's connections leave this machine without being
// encrypted and verified. Errors wrap ErrInvalidConfig.
func New(pool *pgxpool.Pool, config Config) (*Guard, error) {
	if pool == nil {
		return nil, fmt.Errorf("%w: the pool is nil; make one with pgxpool.New", ErrInvalidConfig)
	}
	g, err := newGuard(config)
	if err != nil {
		return nil, err
	}
	g.pool = pool
	if lacks := unverified.Postgres(&pool.Config().ConnConfig.Config); lacks != "" {
		g.log.Warn("idem: the connection to PostgreSQL is not encrypted and verified; use sslmode=verify-full", "reason", lacks)
	}

	return g, nil
}

// newGuard returns a Guard without a database.
func newGuard(config Config) (*Guard, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}

	log := config.Logger.With("consumer", config.Consumer)

	return &Guard{
		config:   config,
		queries:  db.New(),
		names:    &qualifier{name: config.Schema},
		log:      log,
		retries:  retryLog{log: log},
		consumer: consumerID(config.Consumer),
	}, nil
}

// Consumer returns the name of the consumer.
func (g *Guard) Consumer() string { return g.config.Consumer }

// Pool returns the pool that New was given.
func (g *Guard) Pool() *pgxpool.Pool { return g.pool }

// check refuses a Guard that is not made by New.
func (g *Guard) check() error {
	if g == nil || g.pool == nil && g.store == nil {
		return fmt.Errorf("%w: the Guard is not made by New", ErrInvalidConfig)
	}

	return nil
}

// onConn runs statements of the guard's own, outside a transaction.
func (g *Guard) onConn(ctx context.Context, statements func(conn db.DBTX) error) error {
	if g.store != nil {
		return g.inSession(ctx, func(s sqlbridge.Session) error { return explain(statements(g.names.on(s))) })
	}

	return g.withConn(ctx, func(conn *pgxpool.Conn) error { return statements(g.names.on(conn)) })
}

func (g *Guard) withConn(ctx context.Context, use func(conn *pgxpool.Conn) error) error {
	conn, err := g.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("acquire a connection: %w", err)
	}
	defer conn.Release()
	err = explain(use(conn))
	closeUseless(ctx, conn, err)

	return err
}

// closeUseless closes a useless connection, so that the pool makes a new one, perhaps to another server.
func closeUseless(ctx context.Context, conn *pgxpool.Conn, err error) {
	if useless(err) {
		_ = conn.Conn().Close(ctx)
	}
}

// useless reports whether a connection is one to a server that takes no writes, or has lost its prepared
// statements.
func useless(err error) bool { return errors.Is(err, errReadOnly) || statementsLost(err) }
