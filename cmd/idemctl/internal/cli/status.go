package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
	"github.com/nova-events/idempotent-consumer/schema"
)

func newStatus(a *app) *cobra.Command {
	var exact bool
	command := &cobra.Command{
		Use:   "status",
		Short: "Show what the tables contain, for each consumer",
		Long: `Shows how many events each consumer remembers, how many of them are expired, the times of the
oldest and the newest, and how much room they take on disk; and how many dead letters are
unresolved. Of a large table only a part is read, and the figures are estimates ("estimated" in
JSON); the oldest event may then be older. --exact reads all of it. Dead rows and vacuums come from
the server's statistics. The end says what needs to be done; docs/operations.md says more.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return a.tell(command, exact) },
	}
	command.Flags().BoolVar(&exact, "exact", false, "read the whole table, however large it is")

	return command
}

func (a *app) tell(command *cobra.Command, exact bool) error {
	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		status := c.Status
		if exact {
			status = c.ExactStatus
		}
		r, err := status(ctx)
		if err != nil {
			return err
		}

		return a.print(r, statusText(r))
	})
}

func statusText(r ops.Status) string {
	about := ""
	if r.Estimated {
		about = "about "
	}
	head := facts(
		[2]string{"schema", r.Schema},
		[2]string{"migration", describe(r.SchemaState, r.MigrationVersion, schema.Version)},
		[2]string{"events", about + readable.Number(r.Events) + " (" + readable.Number(r.Expired) + " expired)"},
		[2]string{"dead letters", readable.Number(r.UnresolvedDeadLetters) + " unresolved (" + readable.Number(r.OpenDeadLetters) + " open)"},
		[2]string{"leases", readable.Number(r.UndecidedLeases) + " undecided"},
		[2]string{"outbox", outboxLine(r)},
		[2]string{"on disk", fmt.Sprintf("%s: table %s, index %s", readable.Size(r.TableBytes+r.IndexBytes), readable.Size(r.TableBytes), readable.Size(r.IndexBytes))},
		[2]string{"per event", room(r.TableHealth)},
		[2]string{"dead rows", deadRows(r)},
	)
	if len(r.Consumers) == 0 {
		return head + "\nNo consumer is registered yet: the first event of each registers it.\n" + advice(r)
	}
	t := table{columns: []column{
		consumerColumn, {name: "EVENTS", number: true}, {name: "EXPIRED", number: true}, {name: "RETENTION", number: true},
		{name: "OLDEST"}, {name: "NEWEST"}, {name: "DEAD LETTERS", number: true},
	}}
	for _, c := range r.Consumers {
		oldest, newest := "-", "-"
		if c.Events > 0 {
			oldest, newest = readable.Timestamp(*c.Oldest), readable.Timestamp(*c.Newest)
		}
		t.row(readable.Name(c.Consumer), readable.Number(c.Events), readable.Number(c.Expired), readable.Duration(c.Retention.Duration()), oldest, newest, readable.Number(c.UnresolvedDeadLetters))
	}

	return head + "\n" + t.String() + advice(r) + sampled(r)
}

func advice(r ops.Status) string {
	if len(r.Advice) == 0 {
		return ""
	}

	return "\nTo do (see docs/operations.md):\n- " + strings.Join(r.Advice, "\n- ") + "\n"
}

func sampled(r ops.Status) string {
	if !r.Estimated {
		return ""
	}

	return "\nA part of the table was read, so its figures are estimates; --exact reads all.\n"
}

func room(h ops.TableHealth) string {
	if h.BytesPerEvent == 0 {
		return "-"
	}

	return fmt.Sprintf("%.0f bytes including index; %.0f without bloat: about %s are dead rows or free space", h.BytesPerEvent, h.PackedBytesPerEvent, readable.Size(h.UnusedBytes))
}

func deadRows(r ops.Status) string {
	vacuumed := "never vacuumed (or statistics were reset)"
	if last := r.Vacuumed(); !last.IsZero() {
		vacuumed = "last vacuum " + readable.Ago(last, r.ReadAt)
	}

	return fmt.Sprintf("about %s (%d%%), %s", readable.Number(r.DeadRows), r.DeadPercent(), vacuumed)
}
