package lease

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
)

// Undecided asks PostgreSQL how many events of the consumer wait for an operator ("idemctl lease decide"), for metrics and health
// checks. It needs a connection of the pool.
func (l *Leases) Undecided(ctx context.Context) (n int64, err error) {
	if l == nil || l.guard == nil {
		return 0, fmt.Errorf("%w: the Leases are not made by New", idem.ErrInvalidConfig)
	}
	err = l.tables.Do(ctx, func(conn *pgxpool.Conn) error {
		rows, err := l.queries.LeaseUndecided(ctx, l.tables.On(conn))
		n = 0
		for _, row := range rows {
			if row.Consumer == l.guard.Consumer() {
				n = row.Leases
			}
		}

		return err
	})
	if err != nil {
		return 0, fmt.Errorf("lease: count undecided events: %w", err)
	}

	return n, nil
}

// Consumer returns the name of the consumer whose events these are.
func (l *Leases) Consumer() string { return l.guard.Consumer() }
