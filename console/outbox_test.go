package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/console"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// publish puts records into the outbox, in a state each; an empty one waits for the relay.
func (b *bundle) publish(t testing.TB, topic string, states ...string) {
	t.Helper()
	for i, state := range states {
		record := outbox.Record{Topic: topic, Key: fmt.Appendf(nil, "key-%d", i), Value: []byte("4111"), EventID: fmt.Sprint(topic, "-", i)}
		err := pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error { return outbox.Publish(t.Context(), tx, record) })
		if err != nil {
			t.Fatal(err)
		}
		if state != "" {
			b.exec(t, fmt.Sprintf(`UPDATE idem.outbox SET state = '%s', error = 'too large <%d>' WHERE event_id = '%s'`, state, i, record.EventID))
		}
	}
}

// published are the records' states, in the order of their ids.
func (b *bundle) published(t *testing.T) (text string) {
	t.Helper()
	if err := b.pool.QueryRow(t.Context(), `SELECT coalesce(string_agg(coalesce(state, 'waiting'), ',' ORDER BY id), '') FROM idem.outbox`).Scan(&text); err != nil {
		t.Fatal(err)
	}

	return text
}

func TestOutboxPages(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *console.Config) {
		c.Authorize = func(r *http.Request) (console.User, error) {
			return console.User{Payloads: r.Header.Get("X-Payloads") != ""}, nil
		}
	})
	b.get(t, "/outbox").want(t, http.StatusOK, "None.")
	b.publish(t, "mails", "", "failed", "parked", "retry", "discard")
	b.publish(t, "bills", "failed")
	b.get(t, "/outbox").want(t, http.StatusOK, `data-live="live?view=outbox"`, `data-k="waiting">3<`, `data-k="failed">2<`, `data-k="parked">1<`, "mails-1", "too large &lt;1&gt;").
		lacks(t, "mails-0", "key-1", `formaction="outbox-retry"`)
	b.get(t, "/outbox?topic=bills&state=failed").want(t, http.StatusOK, "bills-0").lacks(t, "mails-1")
	b.get(t, "/").want(t, http.StatusOK, `data-k="outbox">3<`, "2 failed")
	b.get(t, "/outboxrecord?id=2").want(t, http.StatusOK, "Kafka refuses it", "mails", "4 B", "5 B, hidden", "too large &lt;1&gt;", `href="event?id=mails-1"`).lacks(t, "key-1", "formaction")
	b.get(t, "/outboxrecord?id=2", header("X-Payloads", "1")).want(t, http.StatusOK, "key-1")
	b.get(t, "/outboxrecord?id=3").want(t, http.StatusOK, "waits behind a failed record")
	b.get(t, "/outboxrecord?id=1").want(t, http.StatusNotFound, "It may be in Kafka by now")
	b.get(t, "/event?id=mails-1").want(t, http.StatusOK, `href="outboxrecord?id=2"`)
	b.get(t, "/event?id=mails-0").want(t, http.StatusOK, "waits for a relay").lacks(t, "outboxrecord")
	for _, path := range []string{"/outboxrecord", "/outboxrecord?id=x", "/outbox?state=gone", "/outbox?topic=%00", "/outbox?topic=%ff"} {
		b.get(t, path).want(t, http.StatusUnprocessableEntity)
	}
}

// What is confirmed is made for the records that were shown, and for no others.
func TestOutboxIsDecidedAsShown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.publish(t, "mails", "failed", "failed", "parked", "failed")
	b.publish(t, "bills", "failed")
	plan := b.get(t, "/outbox-retry?topic=mails").want(t, http.StatusOK, "Retry 3 records?", "mails-3").form()
	if got := b.published(t); strings.Contains(got, "retry") {
		t.Fatal("the plan changed something: " + got)
	}
	b.publish(t, "late", "failed")
	b.exec(t, `UPDATE idem.outbox SET state = 'discard' WHERE id OPERATOR(pg_catalog.=) 2`)
	plan.Set("reason", "the limit is raised")
	b.post(t, "/outbox-retry", plan).want(t, http.StatusOK, "2 records will be sent again", "1 record had been decided by somebody else")
	if got := b.published(t); got != "retry,discard,parked,retry,failed,failed" {
		t.Error(got)
	}
	one := b.get(t, "/outbox-discard?id=5").want(t, http.StatusOK, "Discard 1 record?", "never come to Kafka", `href="outboxrecord?id=5"`).form()
	b.post(t, "/outbox-discard", one).want(t, http.StatusOK, "1 record will be deleted")
	if got := b.published(t); got != "retry,discard,parked,retry,discard,failed" {
		t.Error(got)
	}
	b.get(t, "/outbox-discard?id=5").want(t, http.StatusOK, "only failed records can be discarded")
	b.post(t, "/outbox-discard", url.Values{"topic": {"late"}}).want(t, http.StatusUnprocessableEntity, "No record is named")
	b.post(t, "/outbox-discard?id=6", url.Values{}).want(t, http.StatusUnprocessableEntity)
	b.post(t, "/outbox-discard", url.Values{"id": {"6"}, "reason": {strings.Repeat("x", 501)}}).want(t, http.StatusUnprocessableEntity)
	if got := b.published(t); !strings.HasSuffix(got, "failed") {
		t.Error(got)
	}
	for _, text := range []string{"retry records of the outbox", "user=olga", `ids="[1 2 4]"`, "changed=2", "unchanged=[2]", "the limit is raised", "change begins", "change made"} {
		if !strings.Contains(b.log.String(), text) {
			t.Errorf("%q is missing in the log: %s", text, b.log)
		}
	}
}

// A change takes a bounded number of records, so that the form which names them can be sent.
func TestOutboxChangesAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `INSERT INTO idem.outbox (event_id, topic, state, error) SELECT 'e', 'mails', 'failed', 'no' FROM pg_catalog.generate_series(1, 501)`)
	b.get(t, "/outbox").want(t, http.StatusOK, "the first 100")
	plan := b.get(t, "/outbox-discard").want(t, http.StatusOK, "Discard 500 records?", "There are more").form()
	b.post(t, "/outbox-discard", plan).want(t, http.StatusOK, "500 records will be deleted")
	b.get(t, "/outbox-discard").want(t, http.StatusOK, "Discard 1 record?").lacks(t, "There are more")
}
