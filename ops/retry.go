package ops

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// retry repeats what may be repeated while its errors are those of the infrastructure.
func (c *Client) retry(ctx context.Context, try func() error) error {
	const attempts = 5
	pause := 100 * time.Millisecond
	for attempt := 1; ; attempt++ {
		err := try()
		if err == nil || !idem.IsTransient(err) || attempt == attempts {
			return err
		}
		c.log.WarnContext(ctx, "ops: retrying after a transient error", "attempt", attempt, "pause", pause, "error", err)
		if !backoff.Sleep(ctx, pause) {
			return errors.Join(context.Cause(ctx), err)
		}
		pause *= 2
	}
}

// in runs statements in a transaction, each of which sees what was committed before it.
func (c *Client) in(ctx context.Context, statements func(conn db.DBTX) error) error {
	return pgx.BeginTxFunc(ctx, c.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		return statements(tables.Qualified{DBTX: tx, Schema: c.schema})
	})
}
