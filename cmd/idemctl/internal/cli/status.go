package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/schema"
)

func newStatus(a *app) *cobra.Command {
	var exact bool
	command := &cobra.Command{
		Use:   "status",
		Short: "Tell what the tables hold, for each consumer",
		Long: `Tells how many events each consumer remembers, how many of them are expired, from when the
oldest and the newest are, and how much room they take on disk; and how many dead letters are
unresolved. Of a large table a part is read, and the figures are estimates ("estimated" in JSON);
the oldest event may then be older. --exact reads all of it. Dead rows and vacuums are what the
server's statistics say. The end says what needs doing; docs/operations.md says more.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return a.tell(command, exact) },
	}
	command.Flags().BoolVar(&exact, "exact", false, "read the whole table, however large it is")

	return command
}

// sampledBlocks is about how many blocks of the table are read for an estimate.
const sampledBlocks = 4000

type statusReport struct {
	tableHealth
	schemaState

	Schema string `json:"schema"`
	// MigrationVersion is 0 where it is not known.
	MigrationVersion int64 `json:"migration_version"`
	// Estimated is set where only a part of the table was read.
	Estimated       bool             `json:"estimated"`
	TableBytes      int64            `json:"table_bytes"`
	IndexBytes      int64            `json:"index_bytes"`
	Events          int64            `json:"events"`
	Expired         int64            `json:"expired"`
	OpenDeadLetters int64            `json:"open_dead_letters"`
	Unresolved      int64            `json:"unresolved_dead_letters"`
	Consumers       []consumerStatus `json:"consumers"`
	// Advice is what somebody should do, one sentence each.
	Advice []string `json:"advice"`

	readAt time.Time // by the server's clock
}

type consumerStatus struct {
	Consumer  string     `json:"consumer"`
	Events    int64      `json:"events"`
	Expired   int64      `json:"expired"`
	Oldest    *time.Time `json:"oldest"` // null without events
	Newest    *time.Time `json:"newest"`
	Retention seconds    `json:"retention_seconds"`
	CreatedAt time.Time  `json:"created_at"`
	// Open dead letters wait for somebody to decide; unresolved are those, and what follows by itself.
	OpenDeadLetters int64 `json:"open_dead_letters"`
	Unresolved      int64 `json:"unresolved_dead_letters"`
}

func (r statusReport) text() string {
	about := ""
	if r.Estimated {
		about = "about "
	}
	head := facts(
		[2]string{"schema", r.Schema},
		[2]string{"migration", r.describe(r.MigrationVersion, schema.Version)},
		[2]string{"events", about + number(r.Events) + " (" + number(r.Expired) + " expired)"},
		[2]string{"dead letters", number(r.Unresolved) + " unresolved (" + number(r.OpenDeadLetters) + " open)"},
		[2]string{"on disk", fmt.Sprintf("%s: table %s, index %s", size(r.TableBytes+r.IndexBytes), size(r.TableBytes), size(r.IndexBytes))},
		[2]string{"per event", r.room()},
		[2]string{"dead rows", r.dead(r.readAt)},
	)
	if len(r.Consumers) == 0 {
		return head + "\nNo consumer is registered yet: the first event of each registers it.\n"
	}
	t := table{columns: []column{
		consumerColumn, {name: "EVENTS", number: true}, {name: "EXPIRED", number: true}, {name: "RETENTION", number: true},
		{name: "OLDEST"}, {name: "NEWEST"}, {name: "DEAD LETTERS", number: true},
	}}
	for _, c := range r.Consumers {
		oldest, newest := "-", "-"
		if c.Events > 0 {
			oldest, newest = timestamp(*c.Oldest), timestamp(*c.Newest)
		}
		t.row(printable(c.Consumer), number(c.Events), number(c.Expired), duration(time.Duration(c.Retention)), oldest, newest, number(c.Unresolved))
	}

	return head + "\n" + t.String() + r.advice() + r.sampled()
}

func (r statusReport) advice() string {
	if len(r.Advice) == 0 {
		return ""
	}

	return "\nTo do (see docs/operations.md):\n- " + strings.Join(r.Advice, "\n- ") + "\n"
}

func (r statusReport) sampled() string {
	if !r.Estimated {
		return ""
	}

	return "\nA part of the table was read, so its figures are estimates; --exact reads all.\n"
}

func (a *app) tell(command *cobra.Command, exact bool) error {
	return a.withStore(command, func(ctx context.Context, s *store) error {
		state, err := s.queries.TableState(ctx, s.conn)
		if err != nil {
			return fmt.Errorf("read the state of the table: %w", err)
		}
		packed, err := s.queries.EventPackedBytes(ctx, s.conn)
		if err != nil {
			return fmt.Errorf("read the size of a row: %w", err)
		}
		percent := 100.0
		if !exact {
			heap, err := s.queries.EventHeap(ctx, s.conn)
			if err != nil {
				return fmt.Errorf("read the size of the table: %w", err)
			}
			percent = min(100, 100*sampledBlocks/float64(max(heap.Blocks, 1)))
		}
		stats, err := s.queries.EventStats(ctx, s.conn, percent)
		if err != nil {
			return fmt.Errorf("count the events: %w", err)
		}
		counts, err := s.deadLetterCounts(ctx)
		if err != nil {
			return err
		}
		r := statusReport{
			Schema: s.schema, MigrationVersion: s.state.Version, schemaState: newSchemaState(s.state, schema.Version), TableBytes: state.TableBytes, IndexBytes: state.IndexBytes,
			Consumers: make([]consumerStatus, len(stats)), readAt: state.ReadAt, Estimated: percent < 100,
		}
		for i, row := range stats {
			r.Events += row.Events
			r.Expired += row.Expired
			c := newConsumerStatus(row)
			c.OpenDeadLetters, c.Unresolved = counts[row.Consumer].Open, counts[row.Consumer].Unresolved
			r.OpenDeadLetters += c.OpenDeadLetters
			r.Unresolved += c.Unresolved
			r.Consumers[i] = c
		}
		r.tableHealth = newTableHealth(state, packed, r.Events)
		r.Advice = r.advise()

		return a.print(r)
	})
}

func newConsumerStatus(row db.EventStatsRow) consumerStatus {
	c := consumerStatus{
		Consumer: row.Consumer, Events: row.Events, Expired: row.Expired,
		Retention: seconds(row.Retention), CreatedAt: row.CreatedAt.UTC(),
	}
	if row.Events > 0 {
		oldest, newest := row.Oldest.UTC(), row.Newest.UTC()
		c.Oldest, c.Newest = &oldest, &newest
	}

	return c
}

// deadLetterCounts are the numbers of unresolved dead letters, by consumer.
func (s *store) deadLetterCounts(ctx context.Context) (map[string]db.DeadLetterCountsRow, error) {
	rows, err := s.queries.DeadLetterCounts(ctx, s.conn)
	if err != nil {
		return nil, fmt.Errorf("count the dead letters: %w", err)
	}
	counts := make(map[string]db.DeadLetterCountsRow, len(rows))
	for _, row := range rows {
		counts[row.Consumer] = row
	}

	return counts, nil
}
