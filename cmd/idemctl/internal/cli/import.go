package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/idem"
)

func newImport(a *app) *cobra.Command {
	var from string
	command := &cobra.Command{
		Use:   "import --from-table SCHEMA.TABLE",
		Short: "Take over the processed events of the predecessor's table",
		Long: `Takes over what the predecessor of this library has processed, from its table in the same
database, for one consumer. The table must have the columns

    id            uuid         becomes the claim id
    event_id      text         the event id
    processed_at  timestamptz  kept: retention counts from here
    metadata      jsonb        kept under "user", where it is not null

Events that are known already stay as they are. Left out and counted are events older than
the consumer's retention, and rows whose event id is empty or too long or whose time is
missing. The old table is only read.

It works in transactions of 5,000 rows and can run while services process events. A signal
ends it between two of them; the same command goes on later. Rows that the old service adds
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

type importReport struct {
	Consumer         string        `json:"consumer"`
	Table            string        `json:"table"`
	Rows             int64         `json:"rows"` // that were read
	Imported         int64         `json:"imported"`
	AlreadyProcessed int64         `json:"already_processed"`
	Expired          int64         `json:"expired"`
	Refused          refusedReport `json:"refused"`
	Complete         bool          `json:"complete"`
}

type refusedReport struct {
	Empty   int64 `json:"empty"`
	TooLong int64 `json:"too_long"`
	Undated int64 `json:"undated"`
}

func (r importReport) text() string {
	t := table{columns: []column{{name: "ROWS", number: true}, {}}}
	t.row(number(r.Imported), "imported for "+printable(r.Consumer))
	t.row(number(r.AlreadyProcessed), "known already")
	t.row(number(r.Expired), "older than the retention, left out")
	for _, refused := range []struct {
		rows int64
		why  string
	}{
		{r.Refused.Empty, "without an event id, left out"},
		{r.Refused.TooLong, "with an event id of more than " + number(idem.MaxEventIDBytes) + " bytes, left out"},
		{r.Refused.Undated, "without a time, left out"},
	} {
		if refused.rows > 0 {
			t.row(number(refused.rows), refused.why)
		}
	}
	t.row(number(r.Rows), "read from "+printable(r.Table))
	text := t.String()
	if !r.Complete {
		text += "\nNot all rows were read; the same command goes on.\n"
	}

	return text
}

// with is the report after one more batch.
func (r importReport) with(b importedBatch) importReport {
	r.Rows += b.Rows
	r.Imported += b.Imported
	r.AlreadyProcessed += b.Good - b.Imported
	r.Expired += b.Expired
	r.Refused.Empty += b.Empty
	r.Refused.TooLong += b.TooLong
	r.Refused.Undated += b.Undated

	return r
}

func (a *app) importTable(command *cobra.Command, from string) error {
	if err := a.needConsumer(); err != nil {
		return err
	}
	schemaName, tableName, found := strings.Cut(from, ".")
	if !found || schemaName == "" || tableName == "" || strings.Contains(tableName, ".") {
		return fail(exitUsage, "--from-table must be SCHEMA.TABLE, e.g. public.processed_events")
	}

	return a.withStore(command, func(ctx context.Context, s *store) error {
		consumer, err := s.consumer(ctx, a.settings.consumer)
		if err != nil {
			return err
		}
		i := importer{store: s, consumer: consumer.ID, table: pgx.Identifier{schemaName, tableName}}
		if err := i.check(ctx); err != nil {
			return err
		}
		r := importReport{Consumer: consumer.Name, Table: from}
		bar := a.progress("importing")
		defer bar.end()
		var total int64
		if bar.shown() {
			if total, err = i.count(ctx); err != nil {
				return err
			}
		}
		bar.set(0, total)
		err = i.run(ctx, func(b importedBatch) {
			r = r.with(b)
			bar.set(r.Rows, max(total, r.Rows))
		})
		bar.end()
		r.Complete = err == nil

		return a.finish(r, err)
	})
}

// run imports batch after batch, in the order of the ids.
func (i *importer) run(ctx context.Context, done func(importedBatch)) error {
	var after *uuid.UUID
	for {
		var b importedBatch
		err := retry(ctx, func() error {
			var err error
			b, err = i.batch(ctx, after)

			return err
		})
		if err != nil {
			return err
		}
		if b.Rows > 0 {
			done(b)
		}
		if b.Rows < importBatch {
			return nil
		}
		after = b.Last
	}
}

// retry repeats what may be repeated while its errors are those of the infrastructure.
func retry(ctx context.Context, try func() error) error {
	const attempts = 5
	pause := 100 * time.Millisecond
	for attempt := 1; ; attempt++ {
		err := try()
		if err == nil || !idem.IsTransient(err) || attempt == attempts {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(pause):
		}
		pause *= 2
	}
}

func (i *importer) count(ctx context.Context) (n int64, err error) {
	sql := "SELECT pg_catalog.count(*) FROM " + i.table.Sanitize()
	if err := i.store.pool.QueryRow(ctx, sql).Scan(&n); err != nil {
		return 0, fmt.Errorf("count the rows of %s: %w", i.table.Sanitize(), err)
	}

	return n, nil
}
