package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/schema"
)

// importBatch is how many rows one transaction takes over.
const importBatch = 5000

// importSQL takes over the rows behind an id, and tells what became of them. Like every claim
// it inserts in the order of the keys, so that it and others wait for each other in one
// direction only. The table is put in for OLD_TABLE.
const importSQL = `
WITH batch AS MATERIALIZED (
    SELECT o.id, o.event_id::pg_catalog.text COLLATE pg_catalog."C" AS event_id, o.processed_at, o.metadata::pg_catalog.jsonb AS metadata
    FROM OLD_TABLE o
    WHERE o.id OPERATOR(pg_catalog.>) @after::pg_catalog.uuid
    ORDER BY o.id
    LIMIT @rows
), judged AS MATERIALIZED (
    SELECT b.*, CASE
        WHEN coalesce(b.event_id, '') OPERATOR(pg_catalog.=) '' THEN 'empty'
        WHEN pg_catalog.octet_length(pg_catalog.convert_to(b.event_id, 'UTF8')) OPERATOR(pg_catalog.>) @max_bytes THEN 'too long'
        WHEN NOT pg_catalog.isfinite(b.processed_at) IS TRUE THEN 'undated'
        WHEN b.processed_at OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) c.retention) THEN 'expired'
        ELSE 'good'
    END AS verdict
    FROM batch b CROSS JOIN idem.consumers c
    WHERE c.id OPERATOR(pg_catalog.=) @consumer_id
), imported AS (
    INSERT INTO idem.processed_events (processed_at, consumer_id, key, claim_id, event_id, metadata)
    SELECT g.processed_at, @consumer_id, g.key, g.id, CASE WHEN g.event_id OPERATOR(pg_catalog.<>) g.key::pg_catalog.text THEN g.event_id END,
           CASE WHEN g.metadata OPERATOR(pg_catalog.<>) 'null' THEN pg_catalog.jsonb_build_object('user', g.metadata) END
    FROM (SELECT j.*, idem.event_key(j.event_id) AS key FROM judged j WHERE j.verdict OPERATOR(pg_catalog.=) 'good') g
    ORDER BY g.key
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT pg_catalog.count(*) AS rows,
       pg_catalog.count(*) FILTER (WHERE verdict OPERATOR(pg_catalog.=) 'good') AS good,
       pg_catalog.count(*) FILTER (WHERE verdict OPERATOR(pg_catalog.=) 'expired') AS expired,
       pg_catalog.count(*) FILTER (WHERE verdict OPERATOR(pg_catalog.=) 'empty') AS empty,
       pg_catalog.count(*) FILTER (WHERE verdict OPERATOR(pg_catalog.=) 'too long') AS too_long,
       pg_catalog.count(*) FILTER (WHERE verdict OPERATOR(pg_catalog.=) 'undated') AS undated,
       (SELECT pg_catalog.count(*) FROM imported) AS imported,
       (SELECT id FROM batch ORDER BY id DESC LIMIT 1) AS last
FROM judged`

// importColumnsSQL lists the columns of a table with their types.
const importColumnsSQL = `
SELECT a.attname::pg_catalog.text, pg_catalog.format_type(a.atttypid, NULL)
FROM pg_catalog.pg_attribute a
WHERE a.attrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1) AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped`

// importer takes over the rows of one table for one consumer.
type importer struct {
	store    *store
	consumer int64
	table    pgx.Identifier
}

// importedBatch says what became of the rows of a batch; Good counts those that could be
// imported, Imported those that were not known before.
type importedBatch struct {
	Rows, Good, Expired, Empty, TooLong, Undated, Imported int64

	Last *uuid.UUID
}

// check finds out whether the table is what the predecessor creates.
func (i *importer) check(ctx context.Context) error {
	name := i.table.Sanitize()
	rows, err := i.store.pool.Query(ctx, importColumnsSQL, name)
	if err != nil {
		return fmt.Errorf("look at the table %s: %w", name, err)
	}
	columns := map[string]string{}
	var column, kind string
	if _, err := pgx.ForEachRow(rows, []any{&column, &kind}, func() error {
		columns[column] = strings.TrimPrefix(kind, "pg_catalog.")

		return nil
	}); err != nil {
		return fmt.Errorf("look at the table %s: %w", name, err)
	}
	if len(columns) == 0 {
		return fmt.Errorf("there is no table %s in this database; name it as SCHEMA.TABLE, spelled as in the catalog", name)
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
		return fmt.Errorf("the table %s is not the predecessor's: %s; a view with the right columns can stand in for it", name, strings.Join(wrong, ", "))
	}

	return nil
}

// batch imports the rows that come next after an id; nil stands for the beginning.
func (i *importer) batch(ctx context.Context, after *uuid.UUID) (importedBatch, error) {
	sql := schema.Qualify(importSQL, i.store.schema)
	if after == nil {
		after, sql = &uuid.Nil, strings.Replace(sql, "o.id OPERATOR(pg_catalog.>) ", "o.id OPERATOR(pg_catalog.>=) ", 1)
	}
	// Last, so that nothing is put into the table's name.
	sql = strings.Replace(sql, "OLD_TABLE", i.table.Sanitize(), 1)
	rows, err := i.store.pool.Query(ctx, sql, pgx.NamedArgs{
		"after": *after, "rows": importBatch, "max_bytes": idem.MaxEventIDBytes, "consumer_id": i.consumer,
	})
	if err != nil {
		return importedBatch{}, fmt.Errorf("import: %w", err)
	}
	b, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[importedBatch])
	if err != nil {
		return importedBatch{}, fmt.Errorf("import: %w", err)
	}

	return b, nil
}
