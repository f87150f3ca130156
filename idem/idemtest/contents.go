package idemtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// shownRows is how many rows of a table a message shows.
const shownRows = 3

// contents is what is committed in a database, by table. What the guard knows is in it, as tables of
// their own.
type contents map[string][]row

type row struct {
	version string // of the row: the transaction that wrote it
	columns map[string]json.RawMessage
}

const (
	processedEvents = "the guard's processed events"
	deadLetters     = "the guard's dead letters"
)

// guards are the tables of the guard, as far as they are the same after any undisturbed run.
var guards = map[string]string{
	processedEvents: `SELECT '', jsonb_build_object('consumer', c.name, 'event', coalesce(e.event_id, e.key::text))
		FROM idem.processed_events e JOIN idem.consumers c ON c.id = e.consumer_id`,
	deadLetters: `SELECT '', jsonb_build_object('consumer', c.name, 'topic', d.topic, 'partition', d.record_partition, 'offset', d.record_offset,
		'event', d.event_id, 'state', d.state) FROM idem.dead_letters d JOIN idem.consumers c ON c.id = d.consumer_id`,
}

const listTables = `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'idem')`

// read returns what is committed in the database now. A table that somebody has locked against readers is
// left out.
func read(ctx context.Context, conn *pgx.Conn) (contents, error) {
	if _, err := conn.Exec(ctx, "SET lock_timeout = '500ms'"); err != nil {
		return nil, fmt.Errorf("read the tables: %w", err)
	}
	rows, _ := conn.Query(ctx, listTables)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	queries := maps.Clone(guards)
	for _, name := range names {
		queries[name] = "SELECT xmin::text, to_jsonb(t) FROM " + name + " t"
	}
	all := make(contents)
	for name, query := range queries {
		rows, _ := conn.Query(ctx, query, pgx.QueryExecModeExec) // It is another one for each table.
		table, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (got row, err error) {
			return got, r.Scan(&got.version, &got.columns)
		})
		var pgErr *pgconn.PgError
		switch {
		case errors.As(err, &pgErr) && (pgErr.Code == "55P03" || pgErr.Code == "42P01"): // Locked, or dropped since.
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", name, err)
		default:
			all[name] = table
		}
	}

	return all, nil
}

// written says what was written to the tables of the service between two readings; "" is nothing. A row that was
// written with the values that it had counts too.
func written(before, after contents) string {
	return difference(before, after, func(table string, r row) (string, bool) {
		_, guards := guards[table]

		return r.version + " " + r.text(nil), !guards
	}, "removed", "written")
}

// deviation says how the contents differ from those that are wanted; "" is not at all. Columns that are
// different after any run do not count.
func deviation(want, got contents, ignored columns) string {
	return difference(want, got, func(table string, r row) (string, bool) {
		return " " + r.text(ignored[table]), true
	}, "missing", "too many")
}

// difference compares tables as multisets of what key makes of their rows: a version, a space and text.
func difference(before, after contents, key func(table string, r row) (string, bool), gone, come string) string {
	var all []string
	for _, table := range slices.Sorted(maps.Keys(after)) {
		if _, known := before[table]; !known && len(after[table]) == 0 {
			continue
		}
		count := make(map[string]int)
		for _, r := range after[table] {
			if k, counts := key(table, r); counts {
				count[k]++
			}
		}
		for _, r := range before[table] {
			if k, counts := key(table, r); counts {
				count[k]--
			}
		}
		var minus, plus []string
		for _, k := range slices.Sorted(maps.Keys(count)) {
			_, text, _ := strings.Cut(k, " ")
			for range -count[k] {
				minus = append(minus, text)
			}
			for range count[k] {
				plus = append(plus, text)
			}
		}
		for _, part := range []struct {
			what string
			rows []string
		}{{gone, minus}, {come, plus}} {
			if len(part.rows) > 0 {
				all = append(all, fmt.Sprintf("%s: %s %s", table, part.what, shown(part.rows)))
			}
		}
	}

	return strings.Join(all, "; ")
}

func shown(rows []string) string {
	if more := len(rows) - shownRows; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(rows[:shownRows], ", "), more)
	}

	return strings.Join(rows, ", ")
}

// text is the row as JSON, its columns in their alphabetical order.
func (r row) text(ignored map[string]bool) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(r.columns)) {
		if ignored[name] {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s: %s", name, r.columns[name])
	}

	return "{" + b.String() + "}"
}

// columns are some columns of tables.
type columns map[string]map[string]bool

func (c columns) add(table, column string) {
	if c[table] == nil {
		c[table] = make(map[string]bool)
	}
	c[table][column] = true
}

// unlike returns the columns that hold other values after one run than after another that was not
// disturbed either: times, random numbers, numbers from sequences.
func unlike(a, b contents) columns {
	all := make(columns)
	for table := range a {
		if len(a[table]) != len(b[table]) {
			continue // Whatever they hold, they differ.
		}
		values := make(map[string]map[string]int)
		count := func(rows []row, n int) {
			for _, r := range rows {
				for name, value := range r.columns {
					if values[name] == nil {
						values[name] = make(map[string]int)
					}
					values[name][string(value)] += n
				}
			}
		}
		count(a[table], 1)
		count(b[table], -1)
		for name, counts := range values {
			for _, n := range counts {
				if n != 0 {
					all.add(table, name)
				}
			}
		}
	}

	return all
}

// skipNumbers moves all sequences on, so that what comes from them is seen to be different after each run.
func skipNumbers(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `DO $$
DECLARE
    s record;
BEGIN
    FOR s IN SELECT schemaname, sequencename FROM pg_sequences WHERE schemaname <> 'idem' AND NOT cycle AND max_value > 100000 AND increment_by = 1 LOOP
        PERFORM setval(format('%I.%I', s.schemaname, s.sequencename), nextval(format('%I.%I', s.schemaname, s.sequencename)) + 1000);
    END LOOP;
END $$`)
	if err != nil {
		return fmt.Errorf("move the sequences on: %w", err)
	}

	return nil
}
