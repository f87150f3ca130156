package idem

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestRetryDefaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ given, want RetryPolicy }{
		{RetryPolicy{}, RetryPolicy{5, 50 * time.Millisecond, 5 * time.Second, 10 * time.Second}},
		{RetryPolicy{MaxBackoff: time.Millisecond}, RetryPolicy{5, time.Millisecond, time.Millisecond, 10 * time.Second}},
		{RetryPolicy{InitialBackoff: time.Minute}, RetryPolicy{5, time.Minute, time.Minute, 10 * time.Second}},
		{RetryPolicy{MaxAttempts: Unlimited, ResolveTimeout: 1}, RetryPolicy{Unlimited, 50 * time.Millisecond, 5 * time.Second, 1}},
	} {
		if got := c.given.withDefaults(); got != c.want || got.validate() != nil {
			t.Errorf("%+v becomes %+v, want %+v", c.given, got, c.want)
		}
	}
}

func TestAttemptsAreCounted(t *testing.T) {
	t.Parallel()
	transient, permanent := &pgconn.PgError{Code: "40001"}, errors.New("permanent")
	silence := &retryLog{log: slog.New(slog.DiscardHandler)}
	for attempts := 1; attempts < 6; attempts++ {
		p := RetryPolicy{MaxAttempts: attempts, InitialBackoff: 1}.withDefaults()
		tries := 0
		err := p.do(t.Context(), silence, func() error {
			tries++

			return transient
		})
		said := strings.HasPrefix(err.Error(), fmt.Sprintf("after %d attempts: ", attempts))
		if tries != attempts || !errors.Is(err, transient) || said != (attempts > 1) {
			t.Errorf("%d attempts: %v after %d", attempts, err, tries)
		}
		for _, last := range []error{nil, permanent, ErrOutcomeUnknown} {
			tries = 0
			err := p.do(t.Context(), silence, func() error {
				if tries++; tries < attempts {
					return transient
				}

				return last
			})
			if !errors.Is(err, last) || tries != attempts {
				t.Errorf("%d attempts, the last with %v: %v after %d", attempts, last, err, tries)
			}
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	tries := 0
	err := RetryPolicy{MaxAttempts: Unlimited, InitialBackoff: 1, MaxBackoff: 1}.do(ctx, silence, func() error {
		if tries++; tries == 100 {
			cancel()
		}

		return transient
	})
	if tries != 100 || !errors.Is(err, context.Canceled) || !errors.Is(err, transient) {
		t.Errorf("unlimited: %v after %d", err, tries)
	}
}

// Who polls while PostgreSQL is away has a line a minute.
func TestRetriesAreLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		log := &retryLog{log: slog.New(slog.NewTextHandler(&text, nil))}
		for range 120 {
			_ = RetryPolicy{}.withDefaults().do(t.Context(), log, func() error { return &pgconn.PgError{Code: "57P01"} })
			time.Sleep(time.Second) //nolint:forbidigo // Of synctest's clock.
		}
		if lines := strings.Count(text.String(), "\n"); lines < 2 || lines > 4 {
			t.Errorf("%d lines in two to four minutes:\n%s", lines, &text)
		}
	})
}

// distinctKeys folds what has one key, loses nothing else, and take cuts it up without rest.
func TestDistinctKeys(t *testing.T) {
	t.Parallel()
	for round := range 50 {
		ids := make([]string, rand.IntN(3*chunk))
		different := map[string]bool{}
		for i := range ids {
			ids[i] = fmt.Sprint("event ", rand.IntN(len(ids)))
			if rand.IntN(2) == 0 {
				ids[i] = fmt.Sprintf("0190b5a5-7e4c-7000-8000-%012x", rand.IntN(len(ids)))
			}
			different[ids[i]] = true
		}
		all, err := distinctKeys(ids)
		if err != nil || len(all.keys) != len(different) || len(all.eventIDs) > len(different) {
			t.Fatalf("round %d: %d of %d different ids, %v", round, len(all.keys), len(different), err)
		}
		for len(all.keys) > 0 {
			part := all.take(chunk)
			if len(part.keys) == 0 || len(part.keys) > chunk || len(part.eventIDs) > len(part.keys) {
				t.Fatalf("round %d: %d keys for %d ids at once", round, len(part.keys), len(part.eventIDs))
			}
			for i, key := range part.keys {
				id := key // A canonical UUID is its own key.
				if i < len(part.eventIDs) && part.eventIDs[i] != "" {
					id = part.eventIDs[i]
				}
				if !different[id] || Key(id).String() != key {
					t.Fatalf("round %d: key %s of id %q", round, key, id)
				}
				delete(different, id)
			}
		}
		if len(different) != 0 {
			t.Fatalf("round %d: %d ids are lost", round, len(different))
		}
	}
	if _, err := distinctKeys([]string{"a", ""}); !errors.Is(err, ErrInvalidEventID) || !strings.Contains(err.Error(), "event 2") {
		t.Errorf("%v", err)
	}
}

func TestVerdictOnCommit(t *testing.T) {
	t.Parallel()
	for code, refused := range map[string]bool{
		"40001": true, "23505": true, "23503": true, "57014": true, "P0001": true, "53100": true,
		"08006": false, "08P01": false, "40003": false, "57P01": false, "58000": false, "58030": false,
	} {
		for severity, possible := range map[string]bool{"ERROR": true, "FATAL": false, "PANIC": false} {
			for _, err := range []*pgconn.PgError{
				{Code: code, Severity: "FEHLER", SeverityUnlocalized: severity},
				{Code: code, Severity: severity}, // as of a pooler
			} {
				if got := commitRefused(fmt.Errorf("wrapped: %w", err)); got != (refused && possible) {
					t.Errorf("%+v: refused is %v", err, got)
				}
			}
		}
	}
	for _, err := range []error{context.Canceled, errors.New("conn closed"), pgconn.ErrConnClosed} {
		if commitRefused(err) {
			t.Errorf("%v proves nothing", err)
		}
	}
}

// Each call that succeeded allocated twice, to look for lost prepared statements in an error that was nil.
//
//nolint:paralleltest // Allocations are counted for the whole process.
func TestSuccessAllocatesNothingForErrors(t *testing.T) {
	allocations := testing.AllocsPerRun(100, func() {
		if statementsLost(nil) {
			t.Error("no error says that statements were lost")
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations, want none", allocations)
	}
}

// Hooks that are not set cost no allocation.
func TestUnsetHooksAllocateNothing(t *testing.T) { //nolint:paralleltest // Others would allocate meanwhile.
	g := &Guard{config: Config{Consumer: "orders"}}
	c := call{kind: OpProcess, eventID: "e", batch: &keyed{}}
	ctx := t.Context()
	allocations := testing.AllocsPerRun(100, func() {
		_, _ = g.watchProcess(ctx, &c, func(ctx context.Context) (Outcome, error) {
			_, err := g.watchClaim(ctx, c, func(context.Context) (claimed, error) { return claimed{}, nil })

			return Processed, err
		})
		op := g.op(c)
		hooked := g.config.Hooks.Batch.begin(ctx, op)
		g.config.Hooks.Batch.end(hooked, op, BatchEnd{})
		hooked = g.config.Hooks.Commit.begin(ctx, op)
		g.config.Hooks.Commit.end(hooked, op, CommitEnd{})
		hooked = g.config.Hooks.Cleanup.begin(ctx, op)
		g.config.Hooks.Cleanup.end(hooked, op, CleanupEnd{})
	})
	if allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}

// The pause of a tiny share is long. It was none, because it did not fit in a time.Duration.
func TestPauseOfATinyShare(t *testing.T) {
	t.Parallel()
	c := &Cleaner{config: CleanerConfig{Share: 1e-300}}
	if got := c.pauseBehind(time.Second); got != maxPause {
		t.Errorf("the pause is %v", got)
	}
}

func TestIsTransient(t *testing.T) {
	t.Parallel()
	code := func(code, routine string) error { return &pgconn.PgError{Code: code, Routine: routine} }
	for _, c := range []struct {
		err  error
		want bool
	}{
		{code("40001", ""), true},
		{code("40P01", ""), true},
		{code("08006", ""), true},
		{code("53300", ""), true},
		{code("57P01", ""), true},
		{code("57014", ""), false},
		{code("23505", ""), false},
		{code("0A000", "RevalidateCachedQuery"), true},
		{code("0A000", "transformStmt"), false},
		{code("26000", "FetchPreparedStatement"), true},
		{code("26000", "exec_bind_message"), true},
		{code("26000", "exec_stmt_raise"), false},
		{code("42P05", "StorePreparedStatement"), true},
		{code("42P05", "exec_stmt_raise"), false},
		{&pgconn.ConnectError{}, true},
		{io.EOF, true},
		{io.ErrUnexpectedEOF, true},
		{net.ErrClosed, true},
		{driver.ErrBadConn, true},
		{&net.OpError{Op: "read", Err: errors.New("reset")}, true},
		{context.Canceled, false},
		{context.DeadlineExceeded, false},
		{ErrOutcomeUnknown, true},
		{errCommitUnanswered, true},
		{ErrFenced, false},
		{errors.New("anything"), false},
		{nil, false},
	} {
		if got := IsTransient(c.err); got != c.want {
			t.Errorf("%+v: %t, want %t", c.err, got, c.want)
		}
	}
	for _, c := range []error{code("XX000", "FetchPreparedStatement"), code("XX000", "StorePreparedStatement")} {
		if statementsLost(c) {
			t.Errorf("%+v does not say that statements were lost", c)
		}
	}
}

// PostgreSQL takes years that JSON does not, and producers send any.
func TestTimesOfDeadLetters(t *testing.T) {
	t.Parallel()
	for at, want := range map[time.Time]bool{
		{}: false,
		time.Date(0, 12, 31, 23, 59, 59, 0, time.UTC):                  false,
		time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC):                       true,
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC):               true,
		time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC):                  false,
		time.Date(10_000, 1, 1, 0, 30, 0, 0, time.FixedZone("", 3600)): true,
	} {
		if got := timestamptz(at); got.Valid != want {
			t.Errorf("%v: %t, want %t", at, got.Valid, want)
		}
	}
}
