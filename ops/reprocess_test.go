package ops_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/ops"
)

// The COMMIT of a request lands, but its answer is lost: the second try finds what the first one has stored. It
// took that for the request of somebody else.
func TestRequestWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	proxy := pgtest.NewProxy(t, b.db)
	client := newClient(t, b.db.Pool(t, pgtest.Via(proxy.Addr())))
	cut := proxy.CutNextCommit(pgtest.DropAfterCommit)
	got, err := client.Reprocess(t.Context(), ops.RecordPlace{Consumer: "orders", Topic: "orders", Partition: 3, Offset: 7})
	<-cut
	if err != nil || got.DeadLetter.String() != b.one(t, `SELECT string_agg(id::text, ' ') FROM idem.dead_letters`) {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = client.Reprocess(t.Context(), got.RecordPlace)
	wantErr(t, "a second request", err, ops.ErrRequested)
}

// An event that is named is found where its dead letter says, if its claim does not.
func TestReprocessFindsThePlaceOfADeadLetter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	store := func(offset int64, eventID, errText string) {
		t.Helper()
		letter := idem.DeadLetter{Partition: partition, Offset: offset, EventID: eventID, State: idem.DeadLetterOpen, Error: errText}
		if _, err := b.guard.Unfenced(partition).StoreDeadLetter(t.Context(), letter); err != nil {
			t.Fatal(err)
		}
	}
	store(7, "4711", "refused")
	store(8, "", (&idem.CollisionError{EventID: "4711"}).Error())
	place, err := b.client.PlanReprocess(t.Context(), "orders", "4711")
	if want := (ops.RecordPlace{EventID: "4711", Consumer: "orders", Topic: partition.Topic, Partition: partition.Number, Offset: 7}); err != nil || place != want {
		t.Errorf("%+v, %v; want %+v", place, err, want)
	}
	if _, err := b.client.ForgetEvents(t.Context(), "orders", []string{"4711"}, nil); err != nil {
		t.Fatal(err)
	}
	store(9, "4711", "refused")
	_, err = b.client.PlanReprocess(t.Context(), "orders", "4711")
	wantErr(t, "an event with dead letters of two records", err, ops.ErrNoPlace)

	// In one of the places another record stands by now, as a request has found out.
	b.exec(t, `UPDATE idem.dead_letters SET state = 'expired', resolved_at = pg_catalog.now() WHERE record_offset = 7`)
	place, err = b.client.PlanReprocess(t.Context(), "orders", "4711")
	if err != nil || place.Offset != 9 {
		t.Errorf("%+v, %v; want the record at 9", place, err)
	}
}

// A request says which event it is about, and of which topic its place is, so that its owner processes no other record.
func TestRequestSaysWhatItIsAbout(t *testing.T) {
	t.Parallel()
	b := setup(t)
	of := partition
	for _, topicID := range []uuid.UUID{{}, {1}} {
		of.TopicID = topicID
		owner, err := b.guard.Acquire(t.Context(), of, idem.AcquireOptions{Start: func(context.Context) (int64, error) { return 9, nil }})
		if err != nil {
			t.Fatal(err)
		}
		for _, eventID := range []string{"", "4711"} {
			_, err := b.client.Reprocess(t.Context(), ops.RecordPlace{EventID: eventID, Consumer: "orders", Topic: of.Topic, Partition: of.Number, Offset: 7})
			if err != nil {
				t.Fatal(err)
			}
			letter, err := owner.NextDeadLetter(t.Context())
			if err != nil || letter.EventID != eventID || letter.Partition != of || !letter.Requested {
				t.Errorf("%+v, %v; want one of the event %q in %+v", letter, err, eventID, of)
			}
			if err := owner.ExpireDeadLetter(t.Context(), letter, errors.New("another one stands there")); err != nil {
				t.Fatal(err)
			}
		}
	}
	tells := b.explain(t, "orders", "4711").Entries
	if !slices.ContainsFunc(tells, func(e ops.Entry) bool {
		return e.Kind == ops.EntryExpired && strings.Contains(e.Text, "another one stands there")
	}) {
		t.Errorf("%+v", tells)
	}
	_, err := b.client.Reprocess(t.Context(), ops.RecordPlace{EventID: "a\x00b", Consumer: "orders", Topic: "orders", Partition: 3})
	wantErr(t, "an event id that no text can be", err, ops.ErrInvalid)
}
