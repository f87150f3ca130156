package outbox_test

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/await"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/outbox"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// bundle is what most tests need: a database and a topic in memory. The tests with Kafka are in e2e.
type bundle struct {
	db    *pgtest.DB
	pool  *pgxpool.Pool // of a service's role
	owner *pgxpool.Pool // nil where pool is the owner's
	log   *topicLog
}

func setup(t testing.TB) *bundle {
	t.Helper()
	db := pgtest.NewDB(t)

	return &bundle{db: db, pool: db.Pool(t, pgtest.MaxConns(16)), owner: db.OwnerPool(t), log: &topicLog{}}
}

// topicLog is a Producer that keeps what it gets, as a topic of one partition does.
type topicLog struct {
	mu      sync.Mutex
	records []outbox.Record
	refuse  func(r outbox.Record) error // called with mu; nil: nothing is refused
	before  func()                      // called before records are stored; nil: nothing happens
}

func (l *topicLog) Produce(_ context.Context, records []outbox.Record) []error {
	l.mu.Lock()
	before := l.before
	l.mu.Unlock()
	if before != nil {
		before()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse != nil {
		for _, r := range records {
			if err := l.refuse(r); err != nil { // A batch is stored as a whole or not at all.
				errs := make([]error, len(records))
				for i := range errs {
					errs[i] = err
				}

				return errs
			}
		}
	}
	l.records = append(l.records, records...)

	return nil
}

func (l *topicLog) set(change func(l *topicLog)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

// values are those of the records in the log.
func (l *topicLog) values() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	values := make([]string, len(l.records))
	for i, r := range l.records {
		values[i] = string(r.Value)
	}

	return values
}

func (l *topicLog) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()

	return len(l.records)
}

func record(key, value string) outbox.Record {
	return outbox.Record{Topic: "orders", Key: []byte(key), Value: []byte(value)}
}

// numbered are records of some keys, whose values are numbers.
func numbered(first, n, keys int) []outbox.Record {
	records := make([]outbox.Record, n)
	for i := range records {
		records[i] = record("k"+strconv.Itoa(i%keys), strconv.Itoa(first+i))
	}

	return records
}

func (b *bundle) begin(t testing.TB) pgx.Tx {
	t.Helper()
	tx, err := b.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) }) // After COMMIT it does nothing.

	return tx
}

func publish(t testing.TB, tx pgx.Tx, records ...outbox.Record) {
	t.Helper()
	if err := outbox.Publish(t.Context(), tx, records...); err != nil {
		t.Fatal(err)
	}
}

func commit(t testing.TB, tx pgx.Tx) {
	t.Helper()
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// published publishes records in a transaction of their own.
func (b *bundle) published(t testing.TB, records ...outbox.Record) {
	t.Helper()
	tx := b.begin(t)
	publish(t, tx, records...)
	commit(t, tx)
}

// start starts a relay, which stops when the test ends. change may be nil.
func (b *bundle) start(t testing.TB, change func(*outbox.Config)) (stop func()) {
	t.Helper()

	return b.startWith(t, change, (*outbox.Relay).NeverLookBack)
}

// relay returns a relay that does not run yet.
func (b *bundle) relay(t testing.TB, change func(*outbox.Config)) *outbox.Relay {
	t.Helper()
	config := outbox.Config{Poll: time.Millisecond}
	if change != nil {
		change(&config)
	}
	relay, err := outbox.NewRelay(b.pool, b.log, config)
	if err != nil {
		t.Fatal(err)
	}

	return relay
}

func (b *bundle) startWith(t testing.TB, change func(*outbox.Config), prepare func(*outbox.Relay)) (stop func()) {
	t.Helper()
	relay := b.relay(t, change)
	prepare(relay)

	return run(t, relay)
}

// run runs a relay until stop is called, or the test ends.
func run(t testing.TB, relay *outbox.Relay) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- relay.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run returned %v", err)
			}
		case <-time.After(await.Patience):
			t.Error("Run does not return")
		}
	})
	t.Cleanup(stop)

	return stop
}

// await waits until the log has n records.
func (b *bundle) await(t testing.TB, n int) {
	t.Helper()
	await.Until(t, fmt.Sprintf("%d records", n), func() bool { return b.log.len() >= n })
}

// awaitEmpty waits until nothing is left to relay.
func (b *bundle) awaitEmpty(t testing.TB) {
	t.Helper()
	await.Until(t, "an empty outbox", func() bool { return b.count(t, `true`) == 0 })
}

// count counts the rows for which a condition holds.
func (b *bundle) count(t testing.TB, condition string) (n int) {
	t.Helper()
	if err := b.pool.QueryRow(t.Context(), `SELECT count(*) FROM idem.outbox WHERE `+condition).Scan(&n); err != nil {
		t.Fatal(err)
	}

	return n
}

func (b *bundle) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := cmp.Or(b.owner, b.pool).Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func eventID(r outbox.Record) string {
	return consume.HeaderCarrier(r.Headers).Get(consume.DefaultEventIDHeader)
}
