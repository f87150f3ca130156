package ops_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/lease"
	"github.com/nova-events/idempotent-consumer/ops"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// pay makes an attempt at an effect whose second step gets no answer.
func (b *bundle) pay(t *testing.T, unknown lease.Policy) (lease.Done, error) {
	t.Helper()
	leases, err := lease.New(b.guard, lease.Config{Unknown: unknown, Backoff: lease.NoBackoff})
	if err != nil {
		t.Fatal(err)
	}

	return leases.Do(t.Context(), "4711", func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
		_, err := a.Step(ctx, "reserve\a", func(context.Context) (lease.Result, error) {
			return lease.Result{ContentType: "text/\a", Body: []byte("reservation 7")}, nil
		})
		if err == nil {
			err = lease.Unknown(errors.New("no answer\a"))
		}

		return lease.Result{}, err
	})
}

func TestStoryOfAnEffect(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := b.pay(t, lease.NeedsDecision()); !errors.As(err, new(*lease.UndecidedError)) {
		t.Fatal(err)
	}
	step := [2]string{"step", `Step "reserve\a" took effect. Its result was stored: 13 B of "text/\a".`}
	began := [2]string{"attempted", "began"}
	s := b.explain(t, "", "4711")
	tells(t, s, began, step, [2]string{"waiting", `nobody knows whether attempt 1 took effect (1 attempt began, of which 1 may have taken effect; the last error: "no answer\a"). It waits for somebody`})
	if !s.Known() || s.Leases[0].State != ops.LeaseUndecided || s.Results[0].Bytes != 13 {
		t.Errorf("%+v", s)
	}
	b.exec(t, `UPDATE idem.leases SET needs_decision = false`)
	tells(t, b.explain(t, "orders", "4711"), began, step, [2]string{"waiting", "The service decides with the next delivery"})
	b.exec(t, `UPDATE idem.leases SET state = 'running', unknown = 0, token = pg_catalog.gen_random_uuid(), until = pg_catalog.now() OPERATOR(pg_catalog.+) INTERVAL '1 hour'`)
	tells(t, b.explain(t, "orders", "4711"), began, step, [2]string{"running", "Attempt 1 is running"})
	b.exec(t, `UPDATE idem.leases SET until = pg_catalog.clock_timestamp()`)

	request := ops.DecisionRequest{By: "alice", Reason: "not there", Until: s.Leases[0].Until}
	_, err := b.client.RerunLease(t.Context(), "orders", "4711", request)
	wantErr(t, "a decision about the attempt before", err, ops.ErrChanged)
	if _, err := b.client.CompleteLease(t.Context(), "orders", "4711", ops.LeaseResult{ContentType: "application/json", Body: []byte("ch_1")}, request); !errors.Is(err, ops.ErrInvalid) {
		t.Errorf("a result that the service cannot read: %v", err)
	}
	_, err = b.client.CompleteLease(t.Context(), "orders", "4711", ops.LeaseResult{}, request)
	wantErr(t, "completing the attempt before", err, ops.ErrChanged)
	request.Until = b.explain(t, "orders", "4711").Leases[0].Until
	if _, err := b.client.RerunLease(t.Context(), "orders", "4711", request); err != nil {
		t.Fatal(err)
	}
	tells(t, b.explain(t, "orders", "4711"), began, step, [2]string{"decided", "decided to run it again: not there."}, [2]string{"waiting", "runs the effect again"})
	request = ops.DecisionRequest{By: "alice"} // Whatever it is by now.
	if _, err := b.client.CompleteLease(t.Context(), "orders", "4711", ops.LeaseResult{Body: []byte("ch_1")}, request); err != nil {
		t.Fatal(err)
	}
	s = b.explain(t, "orders", "4711")
	tells(t, s, [2]string{"processed", ""}, [2]string{"decided", "alice ("}, [2]string{"result", "was stored: 4 B. Later"}, [2]string{"forgotten", ""})
	if len(s.Leases) != 0 || s.Results[0].Step != "" {
		t.Errorf("%+v", s)
	}
}

// What an event's id was published with is told, whoever has published it and however far it is.
func TestStoryOfTheOutbox(t *testing.T) {
	t.Parallel()
	b := setup(t)
	publish := func(n int, id string) {
		records := slices.Repeat([]outbox.Record{{Topic: "mails", Key: []byte("k"), EventID: id}}, n)
		err := pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error { return outbox.Publish(t.Context(), tx, records...) })
		if err != nil {
			t.Fatal(err)
		}
	}
	publish(1, "4711")
	published := [2]string{"published", "for the topic mails was published with this event id, as record 1 "}
	for state, want := range map[string]string{
		"NULL": "Record 1 of the outbox waits for a relay", "'parked'": "waits behind a failed one", "'retry'": "will be sent again", "'discard'": "will be deleted",
		"'failed'": `Record 1 of the outbox is refused by Kafka: "too large\a". It waits for somebody to decide: "idemctl outbox retry 1" or "idemctl outbox discard 1"`,
	} {
		b.exec(t, `UPDATE idem.outbox SET error = E'too large\x07', state = `+state)
		s := b.explain(t, "", "4711")
		tells(t, s, published, [2]string{"waiting", want})
		if !s.Known() || s.Entries[0].Consumer != "" {
			t.Errorf("%+v", s)
		}
	}
	publish(200, "4711")
	s := b.explain(t, "orders", "4711")
	if len(s.Outbox) != 200 || !strings.Contains(kindsOf(s), "more") {
		t.Errorf("%d records are told: %s", len(s.Outbox), kindsOf(s))
	}
	if other := b.explain(t, "", "4712"); other.Known() {
		t.Errorf("%+v", other)
	}
	b.exec(t, `INSERT INTO idem.outbox (event_id, topic) SELECT '4712', 'mails' FROM generate_series(1, 100000)`)
	publish(1, "4713")
	s = b.explain(t, "", "4713")
	if s.Known() || !slices.ContainsFunc(s.Entries, func(e ops.Entry) bool { return strings.Contains(e.Text, "The outbox holds more than 100,000 records.") }) {
		t.Errorf("a record far behind is told: %+v", s.Entries)
	}
}
