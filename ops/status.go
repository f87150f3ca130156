package ops

import (
	"context"
	"time"

	"github.com/nova-events/idempotent-consumer/db"
)

// sampledBlocks is about how many blocks of the table are read for an estimate.
const sampledBlocks = 4000

// Status says what the tables hold.
type Status struct {
	TableHealth
	SchemaState

	Schema string `json:"schema"`
	// MigrationVersion is 0 where it is not known.
	MigrationVersion int64 `json:"migration_version"`
	// Estimated is set where only a part of the table was read. The oldest event may then be older.
	Estimated             bool             `json:"estimated"`
	TableBytes            int64            `json:"table_bytes"`
	IndexBytes            int64            `json:"index_bytes"`
	Events                int64            `json:"events"`
	Expired               int64            `json:"expired"`
	OpenDeadLetters       int64            `json:"open_dead_letters"`
	UnresolvedDeadLetters int64            `json:"unresolved_dead_letters"`
	UndecidedLeases       int64            `json:"undecided_leases"`
	Outbox                OutboxStatus     `json:"outbox"`
	Consumers             []ConsumerStatus `json:"consumers"`
	// Advice is what somebody should do, one sentence each; docs/operations.md says more.
	Advice []string `json:"advice"`

	// ReadAt is when, by the clock of the database.
	ReadAt time.Time `json:"-"`
}

// ConsumerStatus is what the tables contain of a consumer.
type ConsumerStatus struct {
	Consumer  string     `json:"consumer"`
	Events    int64      `json:"events"`
	Expired   int64      `json:"expired"`
	Oldest    *time.Time `json:"oldest"` // nil without events
	Newest    *time.Time `json:"newest"`
	Retention Seconds    `json:"retention_seconds"`
	CreatedAt time.Time  `json:"created_at"`
	Pause     *Pause     `json:"pause"` // nil: it is not paused
	// Open dead letters wait for somebody to decide; unresolved are those, and what follows by itself.
	OpenDeadLetters       int64 `json:"open_dead_letters"`
	UnresolvedDeadLetters int64 `json:"unresolved_dead_letters"`
	UndecidedLeases       int64 `json:"undecided_leases"` // that wait for somebody to decide
}

// Status returns what the tables contain. Of a large table only a part is read, and the figures of its
// events are estimates.
func (c *Client) Status(ctx context.Context) (Status, error) { return c.status(ctx, false) }

// ExactStatus is like Status, but reads the whole table, however large it is.
func (c *Client) ExactStatus(ctx context.Context) (Status, error) { return c.status(ctx, true) }

func (c *Client) status(ctx context.Context, exact bool) (Status, error) {
	state, err := c.state(ctx)
	if err != nil {
		return Status{}, err
	}
	table, err := c.queries.TableState(ctx, c.conn)
	if err != nil {
		return Status{}, c.failed(ctx, "read the state of the table", err)
	}
	packed, err := c.queries.EventPackedBytes(ctx, c.conn)
	if err != nil {
		return Status{}, c.failed(ctx, "read the size of a row", err)
	}
	percent := 100.0
	if !exact {
		heap, err := c.queries.EventHeap(ctx, c.conn)
		if err != nil {
			return Status{}, c.failed(ctx, "read the size of the table", err)
		}
		percent = min(100, 100*sampledBlocks/float64(max(heap.Blocks, 1)))
	}
	stats, err := c.queries.EventStats(ctx, c.conn, percent)
	if err != nil {
		return Status{}, c.failed(ctx, "count the events", err)
	}
	letters, err := c.queries.DeadLetterCounts(ctx, c.conn)
	if err != nil {
		return Status{}, c.failed(ctx, "count the dead letters", err)
	}
	outbox, err := c.OutboxStatus(ctx)
	if err != nil {
		return Status{}, err
	}
	leases, err := c.queries.LeaseUndecided(ctx, c.conn)
	if err != nil {
		return Status{}, c.failed(ctx, "count the leases", err)
	}
	s := Status{
		Schema: c.schema, MigrationVersion: state.Version, SchemaState: newSchemaState(state), TableBytes: table.TableBytes, IndexBytes: table.IndexBytes,
		Outbox: outbox, Consumers: make([]ConsumerStatus, len(stats)), ReadAt: utc(table.ReadMicros), Estimated: percent < 100,
	}
	for i, row := range stats {
		s.Consumers[i] = newConsumerStatus(row)
	}
	s = s.with(letters, leases)
	s.TableHealth = newTableHealth(table, packed, s.Events)
	s.Advice = s.advise()

	return s, nil
}

func newConsumerStatus(row db.EventStatsRow) ConsumerStatus {
	c := ConsumerStatus{
		Consumer: row.Consumer, Events: row.Events, Expired: row.Expired,
		Retention: Seconds(retention(row.RetentionMicros)), CreatedAt: utc(row.CreatedMicros),
		Pause: newPause(row.PausedMicros, row.PausedBy, row.PauseReason),
	}
	if row.Events > 0 {
		oldest, newest := utc(row.OldestMicros), utc(row.NewestMicros)
		c.Oldest, c.Newest = &oldest, &newest
	}

	return c
}

// with adds up the consumers, with their dead letters and leases.
func (s Status) with(letters []db.DeadLetterCountsRow, leases []db.LeaseUndecidedRow) Status {
	of := make(map[string]db.DeadLetterCountsRow, len(letters))
	for _, row := range letters {
		of[row.Consumer] = row
	}
	undecided := make(map[string]int64, len(leases))
	for _, row := range leases {
		undecided[row.Consumer] = row.Leases
	}
	for i := range s.Consumers {
		consumer := &s.Consumers[i]
		consumer.UndecidedLeases = undecided[consumer.Consumer]
		s.UndecidedLeases += consumer.UndecidedLeases
		consumer.OpenDeadLetters, consumer.UnresolvedDeadLetters = of[consumer.Consumer].Open, of[consumer.Consumer].Unresolved
		s.Events += consumer.Events
		s.Expired += consumer.Expired
		s.OpenDeadLetters += consumer.OpenDeadLetters
		s.UnresolvedDeadLetters += consumer.UnresolvedDeadLetters
	}

	return s
}
