package idemtest

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// Point is a moment in the processing of an event at which something goes wrong.
type Point int

// At the first three points the process crashes: the connection is cut and the context of the delivery ends.
// At the last two the process lives: only the connection is cut, and the guard finds out what the COMMIT did
// and goes on.
const (
	// BeforeClaim is before the event is claimed. The handler has not run.
	BeforeClaim Point = iota + 1

	// AfterHandler is when the handler has returned: its transaction is rolled back.
	AfterHandler

	// AfterCommit is when the transaction is committed, before that is reported: the offset is not
	// committed to Kafka, and a queue's message is not acknowledged.
	AfterCommit

	// CommitLost is during the COMMIT: it does not reach the server, which rolls back.
	CommitLost

	// CommitUnanswered is during the COMMIT: the server commits, its answer does not come.
	CommitUnanswered
)

// points are all of them.
var points = []Point{BeforeClaim, AfterHandler, AfterCommit, CommitLost, CommitUnanswered}

// String says what happens, such as "crash after the handler".
func (p Point) String() string {
	switch p {
	case BeforeClaim:
		return "crash before the claim"
	case AfterHandler:
		return "crash after the handler"
	case AfterCommit:
		return "crash after the COMMIT"
	case CommitLost:
		return "connection lost during the COMMIT, which did not take effect"
	case CommitUnanswered:
		return "connection lost during the COMMIT, which took effect"
	default:
		return fmt.Sprintf("Point(%d)", int(p))
	}
}

// Crash calls deliver, which delivers an event to the service as in production, and really cuts the connection
// of the first transaction that reaches the point. The transaction's pool must be one of Pool, or have its
// ConnString. Crash ignores the error of deliver: deliver the event again, as its sender does, and check the
// result. If no transaction reaches the point, because the event is processed already for instance, the test
// fails.
func Crash(t testing.TB, pool *pgxpool.Pool, at Point, deliver func(ctx context.Context) error) {
	t.Helper()
	reached, err := crash(t.Context(), databaseOf(t, pool), pool, at, 1, deliver)
	if !reached {
		t.Fatalf("idemtest: %v: no transaction came to that point; deliver returned %v", at, err)
	}
}

// crash is Crash at the n-th transaction that comes to the point.
func crash(ctx context.Context, db *database, pool *pgxpool.Pool, at Point, n int, deliver func(ctx context.Context) error) (reached bool, err error) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	var w wire
	reaches := func(sql string) bool {
		claim, commit := w.sees(sql)

		return at == BeforeClaim && claim == n || at != BeforeClaim && commit == n
	}
	var cut <-chan struct{}
	switch at {
	case AfterCommit:
		cut = db.proxy.CutAfterAnswer(reaches, end)
	case CommitUnanswered:
		cut = db.proxy.CutNextStatement(pgtest.DropAfterCommit, reaches)
	case CommitLost:
		cut = db.proxy.CutNextStatement(pgtest.DropBeforeCommit, reaches)
	case BeforeClaim, AfterHandler:
		cut = db.proxy.CutNextStatement(pgtest.DropBeforeCommit, func(sql string) bool {
			reached := reaches(sql)
			if reached {
				end() // Now, so that the guard does not try again.
			}

			return reached
		})
	default:
		return false, fmt.Errorf("%v is not a Point", at)
	}
	err = deliver(ctx)
	if w.hit(at) < n {
		db.proxy.CutNextStatement(pgtest.DropBeforeCommit, func(string) bool { return false }) // Not the next one.

		return false, err
	}
	select {
	case <-cut:
	case <-time.After(closeTimeout): // The connection is closed, but somebody has it still.
	}
	if at.ends() {
		pool.Reset() // The next process has other connections.
	}

	return true, err
}

// ends reports whether the process ends at the point.
func (p Point) ends() bool { return p != CommitLost && p != CommitUnanswered }

// claims are the statements with which a guard claims events.
var claims = regexp.MustCompile(`-- name: (EventClaim|CheckpointClaim)`)

// wire knows what has been sent to the server.
type wire struct {
	mu              sync.Mutex
	claimed         bool // in a transaction that has not ended
	claims, commits int
}

// sees notes a statement, and returns which claim and which COMMIT of a claim it is; 0: none.
func (w *wire) sees(sql string) (claim, commit int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if claims.MatchString(sql) {
		w.claimed = true
		w.claims++
		claim = w.claims
	}
	switch {
	case !w.claimed:
	case pgtest.IsCommit(sql):
		w.claimed = false
		w.commits++
		commit = w.commits
	case strings.EqualFold(strings.Trim(sql, " ;"), "rollback"):
		w.claimed = false
	}

	return claim, commit
}

// hit returns how many transactions have come to a point.
func (w *wire) hit(at Point) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at == BeforeClaim {
		return w.claims
	}

	return w.commits
}

// transactions calls deliver and returns how many transactions of claims were committed.
func transactions(ctx context.Context, db *database, deliver func(ctx context.Context) error) (int, error) {
	var w wire
	db.proxy.CutNextStatement(pgtest.DropBeforeCommit, func(sql string) bool {
		w.sees(sql)

		return false
	})
	err := deliver(ctx)

	return w.hit(AfterCommit), err
}
