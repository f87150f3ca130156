package idem_test

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// createLike makes the tables of the old server on the new one.
var createLike = map[string]struct {
	rows      bool   // those that migrations insert
	published string // on the old server
}{
	"pg_dump --schema-only": {rows: false, published: "ALL TABLES"},
	"idemctl migrate up": {rows: true, published: "TABLE public.effects, idem.consumers, " +
		"idem.processed_events, idem.checkpoints, idem.dead_letters"},
}

// Nothing that a server hands out, as sequences do, is behind on the new server: consumers register,
// dead letters are stored, partitions go on, duplicates are known, and migrations run.
func TestSwitchoverByLogicalReplication(t *testing.T) {
	t.Parallel()
	for name, made := range createLike {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := pgtest.NewSwitchover(t)
			const effects = `CREATE TABLE public.effects (event_id text NOT NULL)`
			before := newBundle(t, s.Old)
			before.exec(t, effects)
			before.guard = newGuard(t, before.pool, idem.Config{Consumer: "orders"})
			after := newBundle(t, s.New)
			if err := migrate.Up(t.Context(), s.New.DSN, schema.DefaultName); err != nil {
				t.Fatal(err)
			}
			after.exec(t, effects)
			if !made.rows {
				after.exec(t, `TRUNCATE idem.idem_migrations, idem.cleanup RESTART IDENTITY`)
			}

			// Rows are copied by the subscription's start and streamed behind it.
			if err := before.guard.Bind(t.Context(), "cluster", "group"); err != nil {
				t.Fatal(err)
			}
			o := acquire(t, before.guard)
			processThree(t, o, 0)
			letterAt(t, o, 3)
			s.Publish(t, made.published)
			processThree(t, o, 4)
			letterAt(t, o, 7)
			s.Switch(t)

			after.guard = newGuard(t, after.pool, idem.Config{Consumer: "orders"})
			goOn(t, after)
			registerAnother(t, after.pool)
			migrateAgain(t, s.New)
		})
	}
}

func processThree(t *testing.T, o *idem.Owner, from int) {
	t.Helper()
	for offset := from; offset < from+3; offset++ {
		id := strconv.Itoa(offset)
		outcome, err := o.Process(t.Context(), idem.Event{ID: id, Offset: int64(offset)}, effect(id))
		want(t, id, outcome, err, idem.Processed)
	}
}

func letterAt(t *testing.T, o *idem.Owner, offset int64) {
	t.Helper()
	letter := idem.DeadLetter{Partition: partition, Offset: offset, EventID: fmt.Sprint("bad ", offset), Key: []byte("k"), Error: "boom"}
	outcome, err := o.StoreDeadLetter(t.Context(), letter)
	want(t, letter.EventID, outcome, err, idem.Processed)
}

// goOn is what the consumer does on the new server.
func goOn(t *testing.T, b *bundle) {
	t.Helper()
	if err := b.guard.Bind(t.Context(), "cluster", "group"); err != nil {
		t.Fatal(err)
	}
	o := acquire(t, b.guard)
	if o.Next() != 8 || o.IsNew() {
		t.Fatalf("the owner goes on at %d, new: %t; want 8", o.Next(), o.IsNew())
	}
	for i, id := range []string{"1", "5", "bad 3"} {
		offset := 8 + int64(i)
		outcome, err := o.Process(t.Context(), idem.Event{ID: id, Offset: offset}, effect(id))
		want(t, fmt.Sprintf("%s, produced again at %d", id, offset), outcome, err, idem.AlreadyProcessed)
	}
	for id, times := range map[string]int{"1": 1, "5": 1, "bad 3": 0} {
		if n := b.effects(t, id); n != times {
			t.Errorf("%s took effect %d times, want %d", id, n, times)
		}
	}
	letterAt(t, o, 11)
	var letters int
	if err := b.pool.QueryRow(t.Context(), `SELECT count(*) FROM idem.dead_letters WHERE state = 'open'`).Scan(&letters); err != nil || letters != 3 {
		t.Errorf("%d open dead letters, %v; want 3", letters, err)
	}
	report, err := b.guard.CleanupOldEvents(t.Context())
	if err != nil || !report.Complete {
		t.Errorf("cleanup: %+v, %v; want a complete one", report, err)
	}
}

func registerAnother(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	b := &bundle{pool: pool, guard: newGuard(t, pool, idem.Config{Consumer: "shipping"})}
	if err := b.guard.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := acquire(t, b.guard)
	if !o.IsNew() {
		t.Errorf("another consumer goes on at %d, want a new checkpoint", o.Next())
	}
	outcome, err := o.Process(t.Context(), idem.Event{ID: "1", Offset: 0}, effect("1"))
	want(t, "another consumer", outcome, err, idem.Processed)
}

// migrateAgain takes the latest migration back and applies it again: what a newer release applies is one
// more row of the version table, too.
func migrateAgain(t *testing.T, db *pgtest.DB) {
	t.Helper()
	pool := stdlib.OpenDBFromPool(db.Pool(t))
	defer func(pool *sql.DB) { _ = pool.Close() }(pool)
	m, err := migrate.New(pool, schema.DefaultName)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context())
	if _, err := m.To(ctx, m.Latest()-1); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Up(ctx); err != nil {
		t.Errorf("a migration on the new server: %v", err)
	}
}
