package outbox_test

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/internal/await"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// explained is a tracer that asks for the buffers of the relay's reads, in the relay's transaction.
type explained struct {
	mu    sync.Mutex
	reads []read
}

// read is what one read of the outbox has touched.
type read struct {
	look    bool // before the portions of a turn
	rows    int
	buffers int // of 8 KiB
	plan    string
}

func (e *explained) TraceQueryStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	look := strings.HasPrefix(data.SQL, "-- name: OutboxLook")
	if look || strings.HasPrefix(data.SQL, "-- name: OutboxRead") {
		var text string
		var plan []struct {
			Plan struct {
				Hit  int     `json:"Shared Hit Blocks"`  //nolint:tagliatelle // PostgreSQL's.
				Read int     `json:"Shared Read Blocks"` //nolint:tagliatelle // PostgreSQL's.
				Rows float64 `json:"Actual Rows"`        //nolint:tagliatelle // PostgreSQL's.
			} `json:"Plan"` //nolint:tagliatelle // PostgreSQL's.
		}
		err := conn.QueryRow(ctx, "EXPLAIN (ANALYZE, BUFFERS, TIMING off, FORMAT json)\n"+data.SQL, data.Args...).Scan(&text)
		if err == nil {
			err = json.Unmarshal([]byte(text), &plan)
		}
		if ctx.Err() != nil { // The relay stops.
			return ctx
		}
		if err != nil {
			panic(err)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.reads = append(e.reads, read{look, int(plan[0].Plan.Rows), plan[0].Plan.Hit + plan[0].Plan.Read, text})
	}

	return ctx
}

func (*explained) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// last returns what the last read has touched.
func (e *explained) last() read {
	e.mu.Lock()
	defer e.mu.Unlock()

	return e.reads[len(e.reads)-1]
}

func (e *explained) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()

	return len(e.reads)
}

// A portion costs the same however many records wait, and a look at a quiet outbox next to nothing: while a snapshot of
// somebody else keeps all dead rows, and while a transaction with many records is open.
func TestCostOfReading(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const backlog = 100_000
	old, err := b.pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Rollback(context.Background()) //nolint:errcheck // It has only read.
	if _, err := old.Exec(t.Context(), `SELECT count(*) FROM idem.outbox`); err != nil {
		t.Fatal(err)
	}
	fill := func(tx pgx.Tx) {
		if _, err := tx.Exec(t.Context(), `INSERT INTO idem.outbox (event_id, topic, value) SELECT n, 'orders', 'v' FROM generate_series(1, $1::int) n`, backlog); err != nil {
			t.Fatal(err)
		}
	}
	tx := b.begin(t)
	fill(tx)
	commit(t, tx)

	tracer := &explained{}
	traced := &bundle{db: b.db, log: b.log, pool: b.db.Pool(t, func(c *pgxpool.Config) { c.ConnConfig.Tracer = tracer })}
	traced.start(t, nil)
	came := func(n int) { // To count the rows passes all dead ones each time.
		t.Helper()
		await.Until(t, "the records", func() bool { return b.log.len() >= n })
		b.awaitEmpty(t)
	}
	came(backlog)
	tracer.mu.Lock()
	passes := 0
	for i, r := range tracer.reads {
		if r.buffers <= 200 {
			continue
		}
		// The first read that finds nothing behind the backlog passes all dead rows, once.
		if passes++; r.look || r.rows > 0 || passes > 1 {
			t.Errorf("read %d (a look: %t) touched %d buffers: %s", i, r.look, r.buffers, r.plan)
		}
	}
	tracer.mu.Unlock()

	quiet := func(what string) {
		n := tracer.count()
		await.Until(t, "some reads", func() bool {
			b.exec(t, `SELECT pg_current_xact_id()`) // Of a transaction that has ended the relay does not know what it has done.

			return tracer.count() > n+5
		})
		r := tracer.last()
		t.Logf("%s: a read touches %d buffers", what, r.buffers)
		if r.buffers > 200 {
			t.Errorf("%s: a read touches %d buffers: %s", what, r.buffers, r.plan)
		}
	}
	b.published(t, record("k", strconv.Itoa(backlog)))
	b.awaitEmpty(t)
	quiet("with 100,000 dead rows")
	open := b.begin(t)
	fill(open)
	quiet("with 100,000 rows of an open transaction")
	b.published(t, outbox.Record{Topic: "orders", Value: []byte("another")})
	await.Until(t, "the record", func() bool { return b.count(t, "true") == 0 })
	quiet("when another has committed meanwhile")
	commit(t, open)
	came(2*backlog + 2)
	if n := b.log.len(); n != 2*backlog+2 {
		t.Errorf("%d records came", n)
	}
}

// statements is a tracer that keeps what the statements begin with.
type statements struct {
	mu  sync.Mutex
	all []string
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, _, _ := strings.Cut(data.SQL, " :")
	s.all = append(s.all, name)

	return ctx
}

func (*statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// polls reports whether each of the last n statements was a poll that found nothing.
func (s *statements) polls(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()

	return len(s.all) > n && !slices.ContainsFunc(s.all[len(s.all)-n:], func(sql string) bool { return sql != "-- name: OutboxSnapshot" })
}

// While no transaction ends a poll is one statement, and no transaction is missed: neither one that has begun to write before the
// relay has looked, nor what somebody has decided. Other tests' transactions are on another server.
func TestQuietOutbox(t *testing.T) {
	t.Parallel()
	_, db := pgtest.NewForgetful(t)
	b := &bundle{db: db, pool: db.Pool(t), log: &topicLog{}}
	tracer := &statements{}
	traced := &bundle{db: db, log: b.log, pool: db.Pool(t, func(c *pgxpool.Config) { c.ConnConfig.Tracer = tracer })}
	for i := range 2 {
		late := b.begin(t)
		publish(t, late, numbered(i, 1, 1)...)
		if i == 0 { // Its number is the next one in the snapshot of the first turn, and nothing else has begun to write.
			traced.start(t, nil)
		}
		await.Until(t, "polls of one statement", func() bool { return tracer.polls(20) })
		commit(t, late)
		b.await(t, i+1)
		b.awaitEmpty(t)
	}
	want(t, b.log.values(), "0", "1")
}

// A turn reads what it sends, however many records wait behind that, and however many are held. No statement of a relay scans the
// table.
func TestRelayScansNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const backlog, held = 20_000, 20_000
	b.exec(t, `INSERT INTO idem.outbox (event_id, topic, value) SELECT n, 'orders', 'v' FROM generate_series(1, $1::int) n`, backlog)
	b.exec(t, `INSERT INTO idem.outbox (key_hash, event_id, topic, state) SELECT 1, n, 'orders', 'parked' FROM generate_series(1, $1::int) n`, held)
	relay := &bundle{db: b.db, log: b.log, pool: b.db.Pool(t)}
	stop := relay.start(t, nil)
	b.await(t, backlog)
	stop()
	relay.pool.Close() // The server counts what its session has done.
	var deleted, scanned, fetched int
	await.Until(t, "the statistics", func() bool {
		const statistics = `SELECT pg_catalog.pg_stat_get_tuples_deleted(o), pg_catalog.pg_stat_get_tuples_returned(o), pg_catalog.pg_stat_get_tuples_fetched(o)
			FROM (SELECT 'idem.outbox'::pg_catalog.regclass::pg_catalog.oid AS o) o`
		if err := b.pool.QueryRow(t.Context(), statistics).Scan(&deleted, &scanned, &fetched); err != nil {
			t.Fatal(err)
		}

		return deleted == backlog
	})
	t.Logf("to relay %d records %d rows were scanned and %d found by indexes", backlog, scanned, fetched)
	if scanned > 0 || fetched > 5*backlog {
		t.Errorf("to relay %d records beside %d held ones %d rows were scanned and %d found by indexes", backlog, held, scanned, fetched)
	}
}
