package pgserver_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/internal/await"
	"github.com/nova-events/idempotent-consumer/internal/pgserver"
)

func startPair(t *testing.T) *pgserver.Pair {
	t.Helper()
	pair, err := pgserver.StartPair(t.Context(), pgserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pair.Stop(); err != nil {
			t.Error(err)
		}
	})

	return pair
}

func newPool(t *testing.T, dsn string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)

	return pool
}

// commit commits rows, each in a transaction of its own.
func commit(t *testing.T, pool *pgxpool.Pool, first, last int) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS committed (n integer)"); err != nil {
		t.Fatal(err)
	}
	for n := first; n <= last; n++ {
		if _, err := pool.Exec(t.Context(), "INSERT INTO committed VALUES ($1)", n); err != nil {
			t.Fatal(err)
		}
	}
}

// span tells which rows there are, "1-20 (20)".
const span = "SELECT concat(min(n), '-', max(n), ' (', count(*), ')') FROM committed"

// The standby is without what was committed behind the cut, and has all before; one pool works
// before and after the failover.
func TestFailoverLosesWhatIsBehindTheCut(t *testing.T) {
	t.Parallel()
	pair := startPair(t)
	pool := newPool(t, pair.DSN("postgres"))
	commit(t, pool, 1, 20)
	if err := pair.Cut(t.Context()); err != nil {
		t.Fatal(err)
	}
	commit(t, pool, 21, 40)
	if got := query(t, pair.DSN("postgres"), span); got != "1-40 (40)" {
		t.Errorf("the primary has %s, want 1-40", got)
	}
	if got := query(t, pair.Standby.DSN("postgres"), span); got != "1-20 (20)" {
		t.Errorf("the standby has %s, want 1-20", got)
	}

	if err := pair.Failover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := query(t, pair.DSN("postgres"), span); got != "1-20 (20)" {
		t.Errorf("the promoted standby has %s, want 1-20", got)
	}
	if _, err := pgx.Connect(t.Context(), pair.Primary.DSN("postgres")); err == nil {
		t.Error("connected to the dead primary")
	}
	pool.Reset()
	commit(t, pool, 41, 50)
	if got := query(t, pair.Standby.DSN("postgres"), span); got != "1-50 (30)" {
		t.Errorf("after the failover the new primary has %s, want 1-20 and 41-50", got)
	}
}

// Without a cut, what the standby was given time to receive survives.
func TestFailoverKeepsWhatIsReplicated(t *testing.T) {
	t.Parallel()
	pair := startPair(t)
	commit(t, newPool(t, pair.DSN("postgres")), 1, 20)
	await.Until(t, "the replication", func() bool {
		conn, err := pgx.Connect(t.Context(), pair.Standby.DSN("postgres"))
		if err != nil {
			return false
		}
		defer conn.Close(t.Context()) //nolint:errcheck // The query tells.
		var got string

		return conn.QueryRow(t.Context(), span).Scan(&got) == nil && got == "1-20 (20)"
	})
	if err := pair.Failover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := query(t, pair.DSN("postgres"), span); got != "1-20 (20)" {
		t.Errorf("the promoted standby has %s, want 1-20", got)
	}
}

// A crash of a server that does not wait for its WAL loses what was committed while that was
// held back, and nothing else.
func TestForgetfulServerLosesHeldCommits(t *testing.T) {
	t.Parallel()
	server := start(t, pgserver.Config{Settings: pgserver.Forgetful()})
	pool := newPool(t, server.DSN("postgres"))
	commit(t, pool, 1, 20)
	if err := server.HoldWAL(t.Context()); err != nil {
		t.Fatal(err)
	}
	commit(t, pool, 21, 400)
	if got := query(t, server.DSN("postgres"), span); got != "1-400 (400)" {
		t.Errorf("before the crash there are %s, want 1-400", got)
	}
	if err := server.LoseWAL(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := query(t, server.DSN("postgres"), span); got != "1-20 (20)" {
		t.Errorf("after the crash there are %s, want 1-20", got)
	}
	pool.Reset()
	commit(t, pool, 401, 410)
	if err := server.Restart(t.Context()); err != nil { // The WAL is no longer held.
		t.Fatal(err)
	}
}

// A pair that has lost a server can be made whole, and then lose another one.
func TestRenewedPairFailsOverAgain(t *testing.T) {
	t.Parallel()
	pair := startPair(t)
	pool := newPool(t, pair.DSN("postgres"))
	for round := range 2 {
		first := 100*round + 1
		commit(t, pool, first, first+19)
		if err := pair.Cut(t.Context()); err != nil {
			t.Fatal(err)
		}
		commit(t, pool, first+20, first+39)
		if err := pair.Failover(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := pair.Renew(t.Context(), pgserver.Config{}); err != nil {
			t.Fatal(err)
		}
		pool.Reset()
	}
	if got := query(t, pair.DSN("postgres"), span); got != "1-120 (40)" {
		t.Errorf("the third server has %s, want 1-20 and 101-120", got)
	}
}
