package ops_test

import (
	"testing"

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
