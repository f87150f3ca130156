package ops_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/ops"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// bundle is a database of a test's own, with a client and the guard of a service, whose consumer is
// orders. The rights of a service are enough for both, but for what ownerClient is for.
type bundle struct {
	db     *pgtest.DB
	pool   *pgxpool.Pool // of a service's role
	owner  *pgxpool.Pool
	client *ops.Client
	guard  *idem.Guard
}

var partition = idem.Partition{Topic: "orders", Number: 3}

func setup(t *testing.T) *bundle {
	t.Helper()
	db := pgtest.NewDB(t)
	b := &bundle{db: db, pool: db.Pool(t), owner: db.OwnerPool(t)}
	b.client = newClient(t, b.pool)
	guard, err := idem.New(b.pool, idem.Config{Consumer: "orders"})
	if err == nil {
		err = guard.Register(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	b.guard = guard

	return b
}

func newClient(t *testing.T, pool *pgxpool.Pool) *ops.Client {
	t.Helper()
	client, err := ops.New(pool, ops.Config{})
	if err != nil {
		t.Fatal(err)
	}

	return client
}

// ownerClient is for what only the owner of the tables may do.
func (b *bundle) ownerClient(t *testing.T) *ops.Client {
	t.Helper()

	return newClient(t, b.owner)
}

func (b *bundle) exec(t *testing.T, sql string) {
	t.Helper()
	if _, err := b.owner.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// one returns the text that a query selects.
func (b *bundle) one(t *testing.T, sql string) (text string) {
	t.Helper()
	if err := b.owner.QueryRow(t.Context(), sql).Scan(&text); err != nil {
		t.Fatal(err)
	}

	return text
}

// store stores dead letters of the partition, all of one record key: the first is open, the others are
// parked behind it.
func (b *bundle) store(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		letter := idem.DeadLetter{
			State: idem.DeadLetterParked, Partition: partition, Offset: int64(i), Key: []byte("k"), Value: []byte("v"), EventID: fmt.Sprint("e", i), Error: "refused",
		}
		if i == 0 {
			letter.State = idem.DeadLetterOpen
		}
		if _, err := b.guard.Unfenced(letter.Partition).StoreDeadLetter(t.Context(), letter); err != nil {
			t.Fatal(err)
		}
	}
}

// states are the states of all dead letters, in the order of their offsets.
func (b *bundle) states(t *testing.T) string {
	t.Helper()

	return b.one(t, `SELECT coalesce(string_agg(state, ',' ORDER BY record_offset), '') FROM idem.dead_letters`)
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// styles has the sessions write intervals and times in other ways than pgx reads.
func styles(config *pgxpool.Config) {
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.PgConn().Exec(ctx, "SET intervalstyle = iso_8601; SET datestyle = German").ReadAll()

		return err
	}
}
