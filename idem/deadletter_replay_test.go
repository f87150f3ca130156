package idem_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// storedForReplay stores a dead letter and asks for its replay.
func (b *bundle) storedForReplay(t *testing.T, l idem.DeadLetter) idem.DeadLetter {
	t.Helper()

	return b.storedForReplayBy(t, b.guard.Unfenced(partition), l)
}

func (b *bundle) storedForReplayBy(t *testing.T, o *idem.Owner, l idem.DeadLetter) idem.DeadLetter {
	t.Helper()
	outcome, err := o.StoreDeadLetter(t.Context(), l)
	want(t, "store", outcome, err, idem.Processed)
	b.askForReplay(t)

	return b.next(t)
}

// A client that sends no time, or one that PostgreSQL has not, gets none back.
func TestDeadLetterWithoutATime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	l := letter("e", 0)
	l.Time = time.Time{}
	if stored := b.storedForReplay(t, l); !stored.Time.IsZero() {
		t.Errorf("it has the time %v", stored.Time)
	}
}

// A record without an event id may fail where the checkpoint does not pass it, in a lane, and come
// again to the next owner.
func TestRecordWithoutEventIDHasOneDeadLetter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	lanes, err := acquire(t, b.guard).Lanes(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	l := letter("", 3)
	outcome, err := lanes[1].StoreDeadLetter(t.Context(), l)
	want(t, "in a lane", outcome, err, idem.Processed)
	owner := acquire(t, b.guard)
	outcome, err = owner.StoreDeadLetter(t.Context(), l)
	want(t, "by the next owner", outcome, err, idem.AlreadyProcessed)

	// Its mark is forgotten, but it has a dead letter all the same.
	b.exec(t, `DELETE FROM idem.processed_events`)
	outcome, err = b.guard.Unfenced(partition).StoreDeadLetter(t.Context(), l)
	want(t, "after the retention", outcome, err, idem.Processed)
	if got := b.states(t); got != "open" {
		t.Fatalf("states %s, want one dead letter", got)
	}
	b.askForReplay(t)
	outcome, err = b.guard.Unfenced(partition).Replay(t.Context(), b.next(t), effect("e"))
	want(t, "replay", outcome, err, idem.Processed)

	// Another record in the same place, as in a log that was truncated, is another one.
	for name, change := range map[string]func(l *idem.DeadLetter){
		"another key":                    func(l *idem.DeadLetter) { l.Key = []byte("other") },
		"another value":                  func(l *idem.DeadLetter) { l.Value = []byte("other") },
		"another header":                 func(l *idem.DeadLetter) { l.Headers = l.Headers[:2] },
		"a header's key":                 func(l *idem.DeadLetter) { l.Headers[2].Key = "other" },
		"a header's value":               func(l *idem.DeadLetter) { l.Headers[2].Value = []byte("other") },
		"a byte of the key in the value": func(l *idem.DeadLetter) { l.Key, l.Value = l.Key[:4], append(l.Key[4:], l.Value...) },
		"another time":                   func(l *idem.DeadLetter) { l.Time = l.Time.Add(time.Millisecond) },
	} {
		other := letter("", 3)
		change(&other)
		outcome, err = b.guard.Unfenced(partition).StoreDeadLetter(t.Context(), other)
		want(t, name, outcome, err, idem.Processed)
	}
}

// The effect happens in the replay, so that is what the retention counts from.
func TestReplayedEventIsRememberedFromItsReplay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	l := b.storedForReplay(t, letter("e", 0))
	b.exec(t, `UPDATE idem.processed_events SET processed_at = now() - interval '8 days'`)
	outcome, err := b.guard.Unfenced(partition).Replay(t.Context(), l, effect("e"))
	want(t, "replay", outcome, err, idem.Processed)
	if report, err := b.guard.CleanupOldEvents(t.Context()); err != nil || report.Deleted != 0 {
		t.Errorf("cleanup: %+v, %v", report, err)
	}
	outcome, err = b.guard.ProcessIfNew(t.Context(), "e", effect("e"))
	want(t, "produced again", outcome, err, idem.AlreadyProcessed)
	b.wantProcessed(t, "e", true)
}

// A replay takes the options of any call that runs a handler.
func TestReplayStoresMetadataAndDuration(t *testing.T) {
	t.Parallel()
	b := setup(t)
	l := b.storedForReplay(t, letter("e", 0))
	outcome, err := b.guard.Unfenced(partition).Replay(t.Context(), l, effect("e"), idem.WithHandlerDuration(), idem.WithMetadata(idem.Metadata{Host: "h"}))
	want(t, "replay", outcome, err, idem.Processed)
	record, err := b.guard.Lookup(t.Context(), "e")
	if text := string(record.Metadata); err != nil || !strings.Contains(text, `"host": "h"`) || !strings.Contains(text, "handler_ms") {
		t.Errorf("metadata %s, %v", text, err)
	}
}

// Cleanup may delete the mark while the replay is about to take it over.
func TestReplayWhileCleanupDeletesItsClaim(t *testing.T) {
	t.Parallel()
	b := setup(t)
	l := b.storedForReplay(t, letter("e", 0))
	tx, err := b.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `DELETE FROM idem.processed_events`); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		outcome, err := b.guard.Unfenced(partition).Replay(t.Context(), l, effect("e"))
		if err == nil && outcome != idem.Processed {
			err = errors.New(outcome.String())
		}
		done <- err
	}()
	b.waitForLock(t)
	if err := errors.Join(tx.Commit(t.Context()), <-done); err != nil {
		t.Fatal(err)
	}
	b.wantProcessed(t, "e", true)
}

// What makes the event ids may have been corrected since the record was stored.
func TestReplayUnderACorrectedEventID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	l := b.storedForReplay(t, letter("", 0))
	l.EventID = "right"
	outcome, err := b.guard.Unfenced(partition).Replay(t.Context(), l, effect("right"))
	want(t, "replay", outcome, err, idem.Processed)
	b.wantProcessed(t, "right", true)
	var marks int
	var stored string
	err = b.pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM idem.processed_events), event_id FROM idem.dead_letters`).Scan(&marks, &stored)
	if err != nil || marks != 1 || stored != "right" {
		t.Errorf("%d marks, event id %q, %v; want the corrected one alone", marks, stored, err)
	}

	// Another delivery under the corrected id was processed meanwhile.
	l = b.storedForReplay(t, letter("", 1))
	outcome, err = b.guard.ProcessIfNew(t.Context(), "other", effect("other"))
	want(t, "delivery", outcome, err, idem.Processed)
	l.EventID = "other"
	outcome, err = b.guard.Unfenced(partition).Replay(t.Context(), l, effect("other"))
	want(t, "replay", outcome, err, idem.AlreadyProcessed)
	b.wantProcessed(t, "other", true)
	if got := b.states(t); got != "replayed superseded" {
		t.Error(got)
	}
}

// A replay that hangs, or whose process is frozen, is ended by the next owner like any transaction of
// the partition.
func TestNextOwnerEndsAHungReplay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	frozen := acquire(t, b.guard)
	l := b.storedForReplayBy(t, frozen, letter("e", 0))
	started, ended := make(chan struct{}), make(chan idem.Outcome, 1)
	thaw := make(chan struct{})
	go func() {
		outcome, _ := frozen.Replay(t.Context(), l, func(ctx context.Context, tx pgx.Tx) error {
			if err := effect("e")(ctx, tx); err != nil {
				return err
			}
			close(started)
			<-thaw

			return nil
		}, idem.WithRetry(idem.RetryPolicy{MaxAttempts: 1}))
		ended <- outcome
	}()
	<-started
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	owner, err := b.guard.Acquire(ctx, partition, idem.AcquireOptions{Patience: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	outcome, err := owner.Replay(ctx, b.next(t), effect("e"))
	want(t, "replay by the next owner", outcome, err, idem.Processed)
	close(thaw)
	if outcome := <-ended; outcome == idem.Processed {
		t.Error("the frozen replay took effect")
	}
	b.wantProcessed(t, "e", true)
	if _, err := frozen.Replay(t.Context(), l, effect("e")); !errors.Is(err, idem.ErrFenced) {
		t.Errorf("replay by the former owner: %v, want ErrFenced", err)
	}
}

// Where nobody can tell whether the COMMIT of a replay landed, the error says so.
func TestReplayCommitOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	c := setupCut(t, idem.RetryPolicy{MaxAttempts: 1, ResolveTimeout: 100 * time.Millisecond})
	l := c.storedForReplay(t, letter("e", 0))
	cut := c.proxy.CutNextCommit(pgtest.DropAfterCommit)
	go func() {
		<-cut
		c.proxy.Refuse()
	}()
	outcome, err := c.through.Unfenced(partition).Replay(t.Context(), l, func(ctx context.Context, tx pgx.Tx) error {
		return effect("e")(ctx, tx)
	})
	if err == nil && outcome != idem.Processed || err != nil && !errors.Is(err, idem.ErrOutcomeUnknown) {
		t.Errorf("%v, %v; want ErrOutcomeUnknown, or processed if the search was faster", outcome, err)
	}
	c.wantProcessed(t, "e", true)
}
