package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
)

func newImport(a *app) *cobra.Command {
	var from string
	command := &cobra.Command{
		Use:   "import --from-table SCHEMA.TABLE",
		Short: "Take over the processed events of the predecessor's table",
		Long: `Takes over what the predecessor of this library has processed, from its table in the same
database, for one consumer. The table must have the columns

    id            uuid         becomes the claim id; distinct, and the same at each reading
    event_id      text         the event id
    processed_at  timestamptz  kept: retention counts from here
    metadata      jsonb        kept under "user", where it is not null

Events that are known already stay as they are. Left out and counted are events older than
the consumer's retention, and rows whose event id is empty or too long or whose time is
missing. The old table is only read.

Its rows are counted first, which reads the ids twice. Fewer rows than were counted are an error.

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

type importReport struct {
	Consumer         string        `json:"consumer"`
	Table            string        `json:"table"`
	Counted          int64         `json:"counted"` // rows before the import
	Rows             int64         `json:"rows"`    // that were read
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
		text += "\nNot all rows were read; run the same command again.\n"
	}

	return text
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
		i := importer{
			store: s, consumer: consumer.ID, source: importSource{pool: s.pool, table: pgx.Identifier{schemaName, tableName}},
			report: importReport{Consumer: consumer.Name, Table: from},
		}
		if err := i.source.check(ctx); err != nil {
			return err
		}
		if i.report.Counted, err = i.source.count(ctx); err != nil {
			return err
		}
		bar := a.progress("importing")
		defer bar.end()
		err = i.run(ctx, func() { bar.set(i.report.Rows, max(i.report.Counted, i.report.Rows)) })
		bar.end()
		i.report.Complete = err == nil

		return a.finish(i.report, err)
	})
}

// importer takes over the rows of one source for one consumer.
type importer struct {
	store    *store
	consumer int64
	source   importSource
	report   importReport // of what is committed
}

// run imports page after page, in the order of the ids.
func (i *importer) run(ctx context.Context, done func()) error {
	var after *uuid.UUID
	for {
		var page []importRow
		err := retry(ctx, func() (err error) {
			if page, err = i.source.page(ctx, after); err == nil {
				err = i.take(ctx, page)
			}

			return err
		})
		switch {
		case err != nil:
			return err
		case len(page) > 0:
			done()
			after = &page[len(page)-1].id
		case i.report.Rows < i.report.Counted:
			return fmt.Errorf("only %s of the %s rows that were counted could be read: some were deleted meanwhile, or got other ids; import again",
				number(i.report.Rows), number(i.report.Counted))
		default:
			return nil
		}
	}
}

// take imports the rows of a page and reports what became of them.
func (i *importer) take(ctx context.Context, page []importRow) error {
	r := i.report
	r.Rows += int64(len(page))
	good := db.EventImportParams{ConsumerID: i.consumer}
	for _, row := range page {
		switch id := text(row.eventID); {
		case id == "":
			r.Refused.Empty++
		case len(id) > idem.MaxEventIDBytes:
			r.Refused.TooLong++
		case !row.processedAt.Valid || row.processedAt.InfinityModifier != pgtype.Finite:
			r.Refused.Undated++
		default:
			good.EventIds = append(good.EventIds, id)
			good.ClaimIds = append(good.ClaimIds, row.id.String())
			good.Metadata = append(good.Metadata, text(row.metadata))
			good.ProcessedMicros = append(good.ProcessedMicros, row.processedAt.Time.UnixMicro())
		}
	}
	if len(good.EventIds) > 0 {
		done, err := i.store.queries.EventImport(ctx, i.store.conn, good)
		if err != nil {
			return fmt.Errorf("import: %w", err)
		}
		if done.Known != int64(len(good.EventIds)) {
			return fmt.Errorf("the consumer %s was deleted meanwhile", printable(r.Consumer))
		}
		r.Imported += done.Imported
		r.Expired += done.Expired
		r.AlreadyProcessed += done.Known - done.Expired - done.Imported
	}
	i.report = r

	return nil
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
