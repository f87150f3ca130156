package ops

import (
	"context"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// ImportResult says what became of the rows of another table.
type ImportResult struct {
	Consumer         string        `json:"consumer"`
	Table            string        `json:"table"`
	Counted          int64         `json:"counted"` // rows before the import
	Rows             int64         `json:"rows"`    // that were read
	Imported         int64         `json:"imported"`
	AlreadyProcessed int64         `json:"already_processed"`
	Expired          int64         `json:"expired"` // older than the consumer's retention, left out
	Refused          ImportRefused `json:"refused"`
	Complete         bool          `json:"complete"`
}

// ImportRefused counts rows that are left out.
type ImportRefused struct {
	Empty   int64 `json:"empty"`    // without an event id
	TooLong int64 `json:"too_long"` // with one of more than idem.MaxEventIDBytes
	Undated int64 `json:"undated"`  // without a time
}

// CheckTable returns an error unless a text is the name of a table in the form that ImportTable accepts.
// Errors wrap ErrInvalid.
func CheckTable(name string) error {
	_, err := parseTable(name)

	return err
}

func parseTable(name string) (pgx.Identifier, error) {
	schemaName, tableName, found := strings.Cut(name, ".")
	if !found || schemaName == "" || tableName == "" || strings.Contains(tableName, ".") {
		return nil, invalid("the table must be SCHEMA.TABLE, e.g. public.processed_events")
	}

	return pgx.Identifier{schemaName, tableName}, checkText("the table's name", name)
}

// ImportTable imports for a registered consumer what the predecessor of this library has processed, from
// its table in the same database. table is SCHEMA.TABLE, spelled as in the catalog, without quotes. It must
// have these columns:
//
//	id            uuid         becomes the claim id; distinct, and the same at each reading
//	event_id      text         the event id
//	processed_at  timestamptz  kept: retention counts from here
//	metadata      jsonb        kept under "user", where it is not null
//
// Events that are known already do not change. The table is only read. Its rows are counted first, which
// reads the ids twice. If fewer rows come than were counted, that is an error. The import works in
// transactions of 5,000 rows. The pool must allow two connections. Errors of the table wrap ErrImport.
func (c *Client) ImportTable(ctx context.Context, consumer, table string, progress Progress) (ImportResult, error) {
	name, err := parseTable(table)
	if err != nil {
		return ImportResult{}, err
	}
	if c.pool.Config().MaxConns < 2 {
		return ImportResult{}, invalid("the pool has one connection at most; to count the rows of a table takes two")
	}
	to, err := c.consumer(ctx, consumer)
	if err != nil {
		return ImportResult{}, err
	}
	i := importer{
		Client: c, consumer: to.id, source: importSource{pool: c.pool, table: name}, progress: progress,
		report: ImportResult{Consumer: to.Name, Table: table},
	}
	if err := i.source.check(ctx); err != nil {
		return ImportResult{}, err
	}
	if i.report.Counted, err = i.source.count(ctx); err != nil {
		return ImportResult{}, err
	}
	err = i.run(ctx)
	i.report.Complete = err == nil

	return i.report, err
}

// importer takes over the rows of one source for one consumer.
type importer struct {
	*Client

	consumer int64
	source   importSource
	progress Progress
	report   ImportResult // of what is committed
}

// run imports page after page, in the order of the ids.
func (i *importer) run(ctx context.Context) error {
	var after *uuid.UUID
	for {
		var page []importRow
		err := i.retry(ctx, func() (err error) {
			if page, err = i.source.page(ctx, after); err == nil {
				err = i.take(ctx, page)
			}

			return err
		})
		switch {
		case err != nil:
			return err
		case len(page) > 0:
			i.progress.tell(i.report.Rows, max(i.report.Counted, i.report.Rows))
			after = &page[len(page)-1].id
		case i.report.Rows < i.report.Counted:
			return refuse(ErrImport, "only %s of the %s rows that were counted could be read: some were deleted meanwhile, or got other ids; import again",
				readable.Number(i.report.Rows), readable.Number(i.report.Counted))
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
		done, err := i.queries.EventImport(ctx, i.conn, good)
		if err != nil {
			return i.failed(ctx, "import", err)
		}
		if done.Known != int64(len(good.EventIds)) {
			return refuse(ErrUnknownConsumer, "the consumer %s was deleted meanwhile", readable.Name(r.Consumer))
		}
		r.Imported += done.Imported
		r.Expired += done.Expired
		r.AlreadyProcessed += done.Known - done.Expired - done.Imported
	}
	i.report = r

	return nil
}
