package idemtest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/ops"
)

// Processed fails the test unless all events have taken effect. An event that is a dead letter has
// not.
func Processed(t testing.TB, guard *idem.Guard, eventIDs ...string) {
	t.Helper()
	for _, id := range eventIDs {
		if state, _ := stateOf(t, guard, id); state != processed {
			t.Errorf("idemtest: event %q is not processed: %s", id, state)
		}
	}
}

// NotProcessed fails the test if one of the events has taken effect or is a dead letter.
func NotProcessed(t testing.TB, guard *idem.Guard, eventIDs ...string) {
	t.Helper()
	for _, id := range eventIDs {
		if state, _ := stateOf(t, guard, id); state != unknown {
			t.Errorf("idemtest: event %q was to be left alone: %s", id, state)
		}
	}
}

// ProcessedOnce is Processed for an event whose effect can be counted: the query returns how often it took
// effect, as in SELECT count(*) FROM charges WHERE payment = $1. Any number but 1 fails the test.
func ProcessedOnce(t testing.TB, guard *idem.Guard, eventID, count string, args ...any) {
	t.Helper()
	state, _ := stateOf(t, guard, eventID)
	var effects int
	if err := guard.Pool().QueryRow(t.Context(), count, args...).Scan(&effects); err != nil {
		t.Fatalf("idemtest: count the effects of event %q: %v", eventID, err)
	}
	if state != processed || effects != 1 {
		t.Errorf("idemtest: event %q took effect %d times, want once: %s", eventID, effects, state)
	}
}

// DeadLettered fails the test unless a record with the event id is an unresolved dead letter, and returns the
// dead letter: its Error says why. An empty event id stands for a record without an id.
func DeadLettered(t testing.TB, guard *idem.Guard, eventID string) ops.DeadLetter {
	t.Helper()
	state, letter := stateOf(t, guard, eventID)
	if letter.ResolvedAt != nil || letter.State == "" {
		t.Fatalf("idemtest: event %q is no dead letter: %s", eventID, state)
	}

	return letter
}

const (
	processed = "it is processed"
	unknown   = "the guard does not know it"
)

// stateOf says in words what has become of an event, and returns its latest dead letter, if there is one.
func stateOf(t testing.TB, guard *idem.Guard, eventID string) (state string, letter ops.DeadLetter) {
	t.Helper()
	client, err := ops.New(guard.Pool(), ops.Config{})
	if err != nil {
		t.Fatalf("idemtest: %v", err)
	}
	letters, err := client.DeadLetters(t.Context(), ops.DeadLetterFilter{Consumer: guard.Consumer(), EventID: eventID, Limit: 1000})
	if err != nil {
		t.Fatalf("idemtest: look for dead letters: %v", err)
	}
	for _, l := range slices.Backward(letters) {
		if eventID == "" && l.EventID != nil {
			continue
		}
		letter = l
		if l.ResolvedAt == nil {
			break
		}
	}
	switch letter.State {
	case idem.DeadLetterOpen, idem.DeadLetterParked, idem.DeadLetterReplay, idem.DeadLetterDiscarded, idem.DeadLetterExpired:
		return fmt.Sprintf("it is a dead letter (%s, attempts: %d): %s", letter.State, letter.Attempts, letter.Error), letter
	default: // It has taken effect since, or there is none.
	}
	if eventID == "" {
		return unknown, letter
	}
	known, err := guard.IsProcessed(t.Context(), eventID)
	switch {
	case errors.Is(err, idem.ErrInvalidEventID), err == nil && !known:
		return unknown, letter
	case err != nil:
		t.Fatalf("idemtest: look for event %q: %v", eventID, err)
	}

	return processed, letter
}
