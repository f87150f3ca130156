package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// importSource is the predecessor's table, or a view that stands in for it. It is read in the order
// of its ids, a page at a time, so they must be distinct and stay what they are.
type importSource struct {
	pool  *pgxpool.Pool
	table pgx.Identifier
}

// importRow is a row of the source.
type importRow struct {
	id          uuid.UUID
	eventID     *string
	processedAt pgtype.Timestamptz
	metadata    *string
}

// importColumnsSQL lists the columns of a table with their types.
const importColumnsSQL = `
SELECT a.attname::pg_catalog.text, pg_catalog.format_type(a.atttypid, NULL)
FROM pg_catalog.pg_attribute a
WHERE a.attrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1) AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped`

// check finds out whether the table has the columns that the predecessor creates.
func (s importSource) check(ctx context.Context) error {
	name := s.table.Sanitize()
	rows, err := s.pool.Query(ctx, importColumnsSQL, name)
	if err != nil {
		return fmt.Errorf("look at the table %s: %w", name, err)
	}
	columns := map[string]string{}
	var column, kind string
	if _, err := pgx.ForEachRow(rows, []any{&column, &kind}, func() error {
		columns[column] = strings.TrimPrefix(kind, "pg_catalog.") // It is there where another type of that name is found first.

		return nil
	}); err != nil {
		return fmt.Errorf("look at the table %s: %w", name, err)
	}
	if len(columns) == 0 {
		return refuse(ErrImport, "there is no table %s in this database; name it as SCHEMA.TABLE, spelled as in the catalog", name)
	}
	var wrong []string
	for _, want := range []struct {
		column string
		types  []string
	}{
		{"id", []string{"uuid"}},
		{"event_id", []string{"text", "character varying"}},
		{"processed_at", []string{"timestamp with time zone"}},
		{"metadata", []string{"jsonb", "json"}},
	} {
		switch got, ok := columns[want.column]; {
		case !ok:
			wrong = append(wrong, fmt.Sprintf("it has no column %s (%s)", want.column, want.types[0]))
		case !slices.Contains(want.types, got):
			wrong = append(wrong, fmt.Sprintf("the column %s is %s instead of %s", want.column, got, want.types[0]))
		}
	}
	if len(wrong) > 0 {
		return refuse(ErrImport, "the table %s is not the predecessor's: %s; a view with the right columns can stand in for it", name, strings.Join(wrong, ", "))
	}

	return nil
}

// idCounts says what the ids are; Digest changes with any of them.
type idCounts struct {
	Rows, IDs, Different int64

	Digest string
}

// count returns the number of rows, and an error unless their ids are such as pages can go by. It reads
// the ids in two transactions with one snapshot: ids that a view makes anew differ then, and nothing else.
func (s importSource) count(ctx context.Context) (int64, error) {
	name := s.table.Sanitize()
	var once, twice idCounts
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, s.pool, options, func(first pgx.Tx) (err error) {
		if once, err = s.countIn(ctx, first); err != nil {
			return err
		}
		var snapshot string
		if err := first.QueryRow(ctx, "SELECT pg_catalog.pg_export_snapshot()").Scan(&snapshot); err != nil {
			return err
		}

		return pgx.BeginTxFunc(ctx, s.pool, options, func(second pgx.Tx) (err error) {
			if _, err := second.Exec(ctx, "SET TRANSACTION SNAPSHOT "+literal(snapshot)); err != nil {
				return err
			}
			twice, err = s.countIn(ctx, second)

			return err
		})
	})
	if err != nil {
		return 0, fmt.Errorf("count the rows of %s: %w", name, err)
	}
	var problem string
	switch {
	case once.IDs < once.Rows:
		problem = readable.Number(once.Rows-once.IDs) + " of its ids are null"
	case once.Different < once.Rows:
		problem = "it has " + readable.Number(once.Rows) + " rows and only " + readable.Number(once.Different) + " different ids"
	case once != twice:
		problem = "its ids are others each time that they are read"
	default:
		return once.Rows, nil
	}

	return 0, refuse(ErrImport, "cannot import %s: %s. Its rows are read in the order of the ids, so these must be distinct and stay what they are. "+
		"A view can make them of the event ids: md5(event_id)::uuid. Nothing was imported", name, problem)
}

// countIn counts the rows by their ids, in a transaction.
func (s importSource) countIn(ctx context.Context, tx pgx.Tx) (idCounts, error) {
	rows, err := tx.Query(ctx, `SELECT pg_catalog.count(*) AS rows, pg_catalog.count(id) AS ids, pg_catalog.count(DISTINCT id) AS different,
		coalesce(pg_catalog.sum(pg_catalog.uuid_hash_extended(id, 0)), 0)::pg_catalog.text AS digest FROM `+s.table.Sanitize())
	if err != nil {
		return idCounts{}, err
	}

	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[idCounts])
}

const (
	// importRows and importBytes are how much one transaction takes over.
	importRows  = 5000
	importBytes = 8 << 20
)

var errPageFull = errors.New("the page is full")

// page returns the rows that come next after an id; nil stands for the beginning. No row is the end.
func (s importSource) page(ctx context.Context, after *uuid.UUID) ([]importRow, error) {
	sql := "SELECT id, event_id::pg_catalog.text, processed_at, metadata::pg_catalog.text FROM " + s.table.Sanitize() + " WHERE id OPERATOR(pg_catalog.>) $1 ORDER BY id LIMIT $2"
	if after == nil {
		after, sql = &uuid.Nil, strings.Replace(sql, "(pg_catalog.>)", "(pg_catalog.>=)", 1)
	}
	rows, err := s.pool.Query(ctx, sql, *after, importRows)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.table.Sanitize(), err)
	}
	var (
		page []importRow
		row  importRow
		size int
	)
	_, err = pgx.ForEachRow(rows, []any{&row.id, &row.eventID, &row.processedAt, &row.metadata}, func() error {
		page = append(page, row)
		if size += len(text(row.eventID)) + len(text(row.metadata)); size > importBytes {
			return errPageFull
		}

		return nil
	})
	if err != nil && !errors.Is(err, errPageFull) {
		return nil, fmt.Errorf("read %s: %w", s.table.Sanitize(), err)
	}

	return page, nil
}

// text is what a nullable text holds, "" where it is null.
func text(s *string) string {
	if s == nil {
		return ""
	}

	return *s
}

// literal quotes a text for the statements that take no parameters.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
