package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newImport(a *app) *cobra.Command {
	var from string
	command := &cobra.Command{
		Use:   "import --from-table SCHEMA.TABLE",
		Short: "Import the processed events of the predecessor's table",
		Long: `Imports what the predecessor of this library has processed, from its table in the same
database, for one consumer. The table must have the columns

    id            uuid         becomes the claim id; distinct, and the same at each reading
    event_id      text         the event id
    processed_at  timestamptz  kept: retention counts from here
    metadata      jsonb        kept under "user", where it is not null

Events that are known already do not change. Events older than the consumer's retention, and rows
whose event id is empty or too long or whose time is missing, are left out and counted. The old
table is only read.

Its rows are counted first, which reads the ids twice. If fewer rows come than were counted, that is
an error.

It works in transactions of 5,000 rows and can run while services process events. A signal
ends it between two of them; run the same command again later. Rows that the old service adds
meanwhile may be missed: run it again when that service has stopped.`,
		Example: `  idemctl consumer register orders --retention 30d
  idemctl import --from-table public.processed_events --consumer orders`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return a.importTable(command, from) },
	}
	a.consumerFlag(command, "`NAME` of the consumer that has processed the events")
	command.Flags().StringVar(&from, "from-table", "", "`SCHEMA.TABLE` of the predecessor, spelled as in the catalog, without quotes")

	return command
}

func (a *app) importTable(command *cobra.Command, from string) error {
	if err := a.needConsumer(); err != nil {
		return err
	}
	if err := ops.CheckTable(from); err != nil {
		return fail(exitUsage, "--from-table: %w", err)
	}

	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		bar := a.progress("importing")
		defer bar.end()
		r, err := c.ImportTable(ctx, a.settings.consumer, from, bar.set)
		bar.end()

		return a.finish(r, importText(r), err)
	})
}

func importText(r ops.ImportResult) string {
	t := table{columns: []column{{name: "ROWS", number: true}, {}}}
	t.row(readable.Number(r.Imported), "imported for "+readable.Name(r.Consumer))
	t.row(readable.Number(r.AlreadyProcessed), "known already")
	t.row(readable.Number(r.Expired), "older than the retention, left out")
	for _, refused := range []struct {
		rows int64
		why  string
	}{
		{r.Refused.Empty, "without an event id, left out"},
		{r.Refused.TooLong, "with an event id of more than " + readable.Number(idem.MaxEventIDBytes) + " bytes, left out"},
		{r.Refused.Undated, "without a time, left out"},
	} {
		if refused.rows > 0 {
			t.row(readable.Number(refused.rows), refused.why)
		}
	}
	t.row(readable.Number(r.Rows), "read from "+readable.Name(r.Table))
	text := t.String()
	if !r.Complete {
		text += "\nNot all rows were read; run the same command again.\n"
	}

	return text
}
