package e2e_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// lossy is a bench whose database can lose its last commits.
type lossy struct {
	*bench // The pool is the test's own: it begins anew after the loss.

	service *pgxpool.Pool // what the members have, all the time

	hold func(ctx context.Context) error // What is committed after it is what lose loses.
	lose func(ctx context.Context) error // It returns when the database is back.
	die  func()                          // It ends the database. Only lose brings it back.

	mu      sync.Mutex
	rewound map[int]int // partition: how often its rewind was told
}

// lossyDatabases are the ways in which PostgreSQL loses commits that it has acknowledged.
var lossyDatabases = map[string]func(t *testing.T) (l *lossy, db *pgtest.DB){
	"failover": func(t *testing.T) (*lossy, *pgtest.DB) {
		t.Helper()
		pair := pgtest.NewPair(t)

		return &lossy{hold: pair.Cut, lose: pair.Failover, die: pair.Primary.Crash}, pair.DB
	},
	"crash without synchronous_commit": func(t *testing.T) (*lossy, *pgtest.DB) {
		t.Helper()
		server, db := pgtest.NewForgetful(t)

		return &lossy{hold: server.HoldWAL, lose: server.LoseWAL, die: func() {}}, db
	},
}

func setupLossy(t *testing.T, b *broker.Broker, database string, partitions int) *lossy {
	t.Helper()
	l, db := lossyDatabases[database](t)
	l.rewound = map[int]int{}
	l.bench = setupIn(t, b, partitions, db.Pool(t))
	l.service = db.Pool(t, pgtest.MaxConns(16))

	return l
}

// start starts a member that counts the rewinds.
func (l *lossy) start(t *testing.T, change func(*settings)) *member {
	t.Helper()
	served := *l.bench
	served.pool = l.service

	return served.start(t, func(c *settings) {
		c.Failure.ReplayInterval = 50 * time.Millisecond
		change(c)
		c.Hooks.Event = func(_ context.Context, e consume.Event) {
			if e.Kind == consume.EventRewound {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.rewound[int(e.Partition)]++
			}
		}
	})
}

func (l *lossy) holds(t *testing.T) {
	t.Helper()
	if err := l.hold(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// loses lets the database lose what it has committed since holds. What happens meanwhile does so
// while it is away, if it can be away.
func (l *lossy) loses(t *testing.T, meanwhile func()) {
	t.Helper()
	l.die()
	meanwhile()
	if err := l.lose(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.pool.Reset()
}

// verifyRewound checks that the rewind of each partition was told.
func (l *lossy) verifyRewound(t *testing.T, partitions int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rewound) != partitions {
		t.Errorf("rewinds by partition: %v, want %d partitions", l.rewound, partitions)
	}
}

// verifyIn checks that each event took effect once, and that the order is what the mode keeps.
func (l *lossy) verifyIn(t *testing.T, mode string, n int) {
	t.Helper()
	if mode == "lanes" {
		l.verifyOnce(t, n)
	} else {
		l.verify(t, n)
	}
	if missing := l.missing(t, n); len(missing) > 0 {
		t.Errorf("events without effect: %v", missing)
	}
}

// missing are the events of 0 to n-1 without effect.
func (l *lossy) missing(t *testing.T, n int) []int {
	t.Helper()
	rows, err := l.pool.Query(t.Context(), `SELECT id FROM generate_series(0, $1::int - 1) AS id
		WHERE NOT EXISTS (SELECT FROM public.effects WHERE event_id = id::text) ORDER BY id`, n)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		t.Fatal(err)
	}

	return ids
}

// modes are the ways of processing, each with its way to give a member a handler.
var modes = map[string]func(c *settings, handle consume.Handler){
	"single": func(c *settings, handle consume.Handler) { c.Handle, c.OwnTransactions = handle, true },
	"shared": func(c *settings, handle consume.Handler) { c.Handle = handle },
	"batches": func(c *settings, handle consume.Handler) {
		c.Handle, c.HandleBatch = nil, eachOf(handle)
	},
	"lanes": func(c *settings, handle consume.Handler) { c.Handle, c.Lanes.Count = handle, 4 },
}

// eachLoss runs a test with each way to lose commits, in each mode, for a member that goes on
// running and for one that is started again.
func eachLoss(t *testing.T, test func(t *testing.T, database, mode string, restart bool)) {
	t.Helper()
	for database := range lossyDatabases {
		for mode := range modes {
			for name, restart := range map[string]bool{"running": false, "restarted": true} {
				t.Run(database+"/"+mode+"/"+name, func(t *testing.T) {
					t.Parallel()
					test(t, database, mode, restart)
				})
			}
		}
	}
}

// awaitCheckpoints returns once the checkpoints are behind so many records: with lanes they follow.
func (s *bench) awaitCheckpoints(t *testing.T, n int64) {
	t.Helper()
	until(t, fmt.Sprintf("checkpoints behind %d records", n), func() bool {
		var sum int64
		err := s.pool.QueryRow(t.Context(), `SELECT coalesce(sum(next_offset), 0) FROM idem.checkpoints WHERE lane = 0`).Scan(&sum)

		return err == nil && sum >= n
	})
}
