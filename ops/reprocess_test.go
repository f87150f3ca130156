package ops_test

import (
	"testing"

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
	if want := (ops.RecordPlace{Consumer: "orders", Topic: partition.Topic, Partition: partition.Number, Offset: 7}); err != nil || place != want {
		t.Errorf("%+v, %v; want %+v", place, err, want)
	}
	if _, err := b.client.ForgetEvents(t.Context(), "orders", []string{"4711"}, nil); err != nil {
		t.Fatal(err)
	}
	store(9, "4711", "refused")
	_, err = b.client.PlanReprocess(t.Context(), "orders", "4711")
	wantErr(t, "an event with dead letters of two records", err, ops.ErrNoPlace)
}
