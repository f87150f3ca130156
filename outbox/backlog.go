package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// MaxBacklog is as far as Relay.Backlog counts.
const MaxBacklog = 10_000

// Backlog is what the outbox holds.
type Backlog struct {
	Waiting int64 // records for a relay, with those that were decided about; MaxBacklog at most

	// Oldest is how long ago the first of them was published, by the clock of this machine. 0 without any.
	Oldest time.Duration

	Failed int64 // records that Kafka refuses and nobody has decided about
	Parked int64 // records that wait behind those
}

// Backlog asks PostgreSQL what the outbox holds, for metrics and health checks. It needs a connection of the pool. The relay need not
// run: where none does, the backlog says so.
func (r *Relay) Backlog(ctx context.Context) (Backlog, error) {
	row, err := queries.OutboxCounts(ctx, tables.Qualified{DBTX: r.pool, Schema: r.config.Schema}, MaxBacklog)
	if err != nil {
		return Backlog{}, fmt.Errorf("outbox: look at the backlog: %w", explain(err))
	}
	b := Backlog{Waiting: row.Waiting, Failed: row.Failed, Parked: row.Parked}
	if row.OldestMicros != 0 {
		b.Oldest = max(0, time.Since(time.UnixMicro(row.OldestMicros)))
	}

	return b, nil
}
