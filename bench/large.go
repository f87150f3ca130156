package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
)

// claimFills are statements that add rows to the claims, for each kind of event ids; $1 is how many.
// A random UUID stands for the hash of a string. Those of version 7 are of the last 7 days, in order.
var claimFills = map[string]string{
	uuid4: `INSERT INTO idem.processed_events (claim_id, consumer_id, key)
	 SELECT gen_random_uuid(), (SELECT id FROM idem.consumers), gen_random_uuid() FROM generate_series(1, $1::bigint)`,
	uuid7: `INSERT INTO idem.processed_events (claim_id, consumer_id, key)
	 SELECT gen_random_uuid(), (SELECT id FROM idem.consumers),
	        (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - 604800000 + i * 604800000 / $1::bigint), 12, '0')
	         || '7' || substr(md5(i::text), 1, 3) || '8' || substr(md5(i::text), 4, 15))::uuid
	 FROM generate_series(1, $1::bigint) AS i`,
	stringID: `INSERT INTO idem.processed_events (claim_id, consumer_id, key, event_id)
	 SELECT gen_random_uuid(), (SELECT id FROM idem.consumers), gen_random_uuid(), 'orders-0-' || substr(md5(i::text), 1, 13) || '-' || i
	 FROM generate_series(1, $1::bigint) AS i`,
}

// settledFill is how full, in percent, the pages of an index become that grows by random keys. One that
// is built at once would be fuller.
const settledFill = 70

// largeTable is a table of claims. Only the largest is kept from one measurement to the next.
type largeTable struct {
	*database

	rows int64
	kept bool
}

// large measures batches and single events in tables of several sizes, in turns. Each measurement begins
// with a checkpoint, and lasts as long as checkpoints are apart: at its beginning every page of the index
// that is touched is written to the WAL as a whole, later it is not.
func (b *bench) large(ctx context.Context) error {
	sizes := slices.Compact([]int64{0, min(1_000_000, b.settings.Prefilled), b.settings.Prefilled})
	for _, ids := range b.settings.IDs {
		if err := b.largeOf(ctx, ids, sizes); err != nil {
			return err
		}
	}
	b.compareLarge(sizes)

	return nil
}

func (b *bench) largeOf(ctx context.Context, ids string, sizes []int64) error {
	tables := make([]largeTable, len(sizes))
	for i, rows := range sizes {
		d, err := b.servers.newDatabase(ctx, "bench_large_"+ids+"_"+strconv.Itoa(i), b.settings.Accounts, 0)
		if err != nil {
			return err
		}
		defer d.close()
		tables[i] = largeTable{d, rows, i == len(sizes)-1}
	}
	largest := tables[len(tables)-1]
	b.sayf("filling a table with %d rows, %s", largest.rows, ids)
	if err := largest.fillClaims(ctx, ids, largest.rows); err != nil {
		return err
	}
	for round := range b.settings.LoadRounds {
		for _, t := range inTurn(tables, round) {
			if err := b.largeOnce(ctx, t, ids); err != nil {
				return err
			}
		}
	}

	return b.dropAll(ctx, tables)
}

// largeOnce measures one table once. Small ones are filled anew before, because they would grow.
func (b *bench) largeOnce(ctx context.Context, t largeTable, ids string) error {
	s, l := b.settings, load{IDs: ids, Prefilled: t.rows}
	for _, x := range []subject{batchSubject(batchName, slices.Max(s.Sessions), s.Batch), singleSubject(s.Workers)} {
		if !t.kept {
			if err := t.fillClaims(ctx, ids, t.rows); err != nil {
				return err
			}
		}
		t.prefilled = max(t.rows, 1) // reset leaves the rows alone.
		images, err := t.number(ctx, "SELECT wal_fpi::float8 FROM pg_stat_wal")
		if err != nil {
			return err
		}
		w := window{length: seconds(s.Cycle)}
		if x.size == 1 {
			w.length /= 4 // It touches so few pages that it matters less.
		}
		result, err := x.measure(ctx, t.database, s, l, w)
		if err != nil {
			return err
		}
		after, err := t.number(ctx, "SELECT wal_fpi::float8 FROM pg_stat_wal")
		if err != nil {
			return err
		}
		images = (after - images) / (result.rate * w.length.Seconds())
		b.sayf("%-6s %10d rows, %-6s %8.0f events/s, %5.0f bytes of WAL and %.2f whole pages an event, p99 %.1f ms, others %.1f",
			l.IDs, l.Prefilled, x.name, result.rate, result.cost.WALBytes, images, result.latency.P99, result.others)
		m := measurement{Section: sectionLarge, Subject: x.name, Workers: x.workers, Batch: x.size, Load: l, Unit: eventsPerSecond, ID: largeID(x.name, l)}
		b.report.record(m, result)
		m.ID, m.Unit = m.ID+"/whole_pages", "pages/event"
		b.report.record(m, sample{rate: images})
	}

	return nil
}

func largeID(subject string, l load) string {
	return "large/" + subject + "/" + l.IDs + "/" + strconv.FormatInt(l.Prefilled, 10) + "_rows"
}

// compareLarge compares each table with the next smaller one.
func (b *bench) compareLarge(sizes []int64) {
	for _, ids := range b.settings.IDs {
		for _, name := range []string{batchName, singleName} {
			for i := 1; i < len(sizes); i++ {
				n, d := load{IDs: ids, Prefilled: sizes[i]}, load{IDs: ids, Prefilled: sizes[i-1]}
				b.later = append(b.later, func() {
					b.report.divide(fmt.Sprintf("%s_%s_%d_vs_%d_rows", name, ids, n.Prefilled, d.Prefilled), "rate in the larger table / in the smaller",
						b.report.find(largeID(name, n)), b.report.find(largeID(name, d)), 0.8)
				})
			}
		}
	}
}

// fillClaims gives the table of claims that many rows and no others.
func (d *database) fillClaims(ctx context.Context, ids string, rows int64) error {
	fill := 90 // PostgreSQL's default, and what ordered keys come to
	if ids != uuid7 {
		fill = settledFill
	}
	for _, statement := range []string{
		`TRUNCATE idem.processed_events`,
		`INSERT INTO idem.consumers (id, name, retention) VALUES (idem.consumer_id('` + consumerName + `'), '` + consumerName + `', '7 days') ON CONFLICT DO NOTHING`,
		`ALTER TABLE idem.processed_events DROP CONSTRAINT IF EXISTS processed_events_pkey`,
		claimFills[ids],
		`SET maintenance_work_mem = '1GB'`,
		fmt.Sprintf(`CREATE UNIQUE INDEX processed_events_pkey ON idem.processed_events (consumer_id, key) WITH (fillfactor = %d)`, fill),
		`RESET maintenance_work_mem`,
		`ALTER TABLE idem.processed_events ADD CONSTRAINT processed_events_pkey PRIMARY KEY USING INDEX processed_events_pkey`,
		`VACUUM (ANALYZE, FREEZE) idem.processed_events`,
	} {
		var args []any
		if statement == claimFills[ids] {
			args = append(args, rows)
		}
		if _, err := d.admin.Exec(ctx, statement, args...); err != nil {
			return fmt.Errorf("fill the table: %w", err)
		}
	}

	return nil
}

func (b *bench) dropAll(ctx context.Context, tables []largeTable) error {
	for _, t := range tables {
		name, err := t.text(ctx, "SELECT current_database()")
		if err != nil {
			return err
		}
		t.close()
		if err := execute(ctx, b.servers.postgres.DSN("postgres"), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			return err
		}
	}

	return nil
}
