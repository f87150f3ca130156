package console_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/console"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/ops"
)

func TestPages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store(t, "order 1: no stock", "order 2: no stock", "timeout")
	b.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, next_offset, owner) VALUES (idem.consumer_id('orders'), 'orders', 3, 1234567, 'host-7 pid 42')`)
	b.get(t, "/").want(t, http.StatusOK, "orders", "Events remembered", `data-live="live?view=overview"`)
	b.get(t, "/consumers").want(t, http.StatusOK, "1 consumer", "7d")
	b.get(t, "/consumer?name=orders").want(t, http.StatusOK, "3 unresolved")
	b.get(t, "/consumer?name=nosuch").want(t, http.StatusNotFound, "is not registered")
	b.get(t, "/consumer?name=%ff%00").want(t, http.StatusNotFound, "is not registered")
	b.get(t, "/partitions").want(t, http.StatusOK, "1,234,567", "host-7 pid 42", "1 partition")
	b.get(t, "/partitions?topic=other").want(t, http.StatusOK, "No checkpoint")
	b.get(t, "/deadletters").want(t, http.StatusOK, "order #: no stock", "The newest 3 of 3")
	b.get(t, "/deadletters?shape=order+%23:+no+stock").want(t, http.StatusOK, "The newest 2 of 2")
	b.get(t, "/deadletters?state=replayed").want(t, http.StatusOK, "None.")
	b.get(t, "/deadletters?since=2020-01-01T00:00&until=2020-01-02T00:00:00").want(t, http.StatusOK, "None.")
	b.get(t, "/event").want(t, http.StatusOK, "What became of an event").lacks(t, "<ol")
	b.get(t, "/event?id=event-1&consumer=orders").want(t, http.StatusOK, "failed", "order 2: no stock")
	b.get(t, "/event?id=nosuch").want(t, http.StatusOK, "unknown")
	b.get(t, "/event?id=event-1&consumer=nosuch").want(t, http.StatusNotFound)
	b.get(t, "/event?id="+strings.Repeat("x", 5000)).want(t, http.StatusUnprocessableEntity)
	b.get(t, "/doctor").want(t, http.StatusOK, "Kafka was not asked")
	for _, path := range []string{"/deadletters?since=yesterday", "/deadletters?state=closed", "/deadletters?topic=%00", "/deadletters?error=%ff", "/live?view=nosuch", "/deadletter?id=12"} {
		b.get(t, path).want(t, http.StatusUnprocessableEntity)
	}
	b.get(t, "/deadletters?consumer=nosuch").want(t, http.StatusNotFound)
	b.get(t, "/deadletter?id=ffffffff").want(t, http.StatusNotFound)
}

// What is under a prefix links to itself, and leads back to itself.
func TestConsoleIsMountedAnywhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	inner := b.server.Config.Handler
	mux := http.NewServeMux()
	mux.Handle("/ops/console/", http.StripPrefix("/ops/console", inner))
	b.server.Config.Handler = mux
	a := b.get(t, "/ops/console/").want(t, http.StatusOK)
	a.lacks(t, `href="/`, `src="/`, `action="/`)
	b.get(t, "/ops/console/style.css").want(t, http.StatusOK)
	set := b.post(t, "/ops/console/retention", url.Values{"name": {"orders"}, "amount": {"14"}, "unit": {"days"}, "previous": {"604800000000000"}}).want(t, http.StatusSeeOther)
	if got := set.header.Get("Location"); got != "consumer?name=orders" {
		t.Error(got)
	}
}

func TestPayloadsAreHidden(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *console.Config) {
		c.Authorize = func(r *http.Request) (console.User, error) {
			return console.User{Payloads: r.Header.Get("X-Payloads") != ""}, nil
		}
	})
	b.store(t, "refused")
	page := "/deadletter?id=" + b.firstID(t)
	b.get(t, page).want(t, http.StatusOK, "15 B, hidden", "trace", "event-0").lacks(t, "4111", "key-0", "secret-header")
	b.get(t, page, header("X-Payloads", "1")).want(t, http.StatusOK, "&#34;card&#34;: &#34;4111&#34;", "key-0", "secret-header")
}

func (b *bundle) firstID(t *testing.T) (id string) {
	t.Helper()
	if err := b.pool.QueryRow(t.Context(), `SELECT id::text FROM idem.dead_letters ORDER BY record_offset LIMIT 1`).Scan(&id); err != nil {
		t.Fatal(err)
	}

	return id
}

// A dead letter that is parked names the one that it waits for.
func TestParkedDeadLetterNamesTheFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store(t, "first", "second")
	b.exec(t, `UPDATE idem.dead_letters SET key_hash = 7, topic_id = '00000000-0000-4000-8000-000000000001'`)
	b.exec(t, `UPDATE idem.dead_letters SET state = 'parked' WHERE record_offset OPERATOR(pg_catalog.=) 1`)
	first := b.firstID(t)
	var parked string
	if err := b.pool.QueryRow(t.Context(), `SELECT id::text FROM idem.dead_letters WHERE state = 'parked'`).Scan(&parked); err != nil {
		t.Fatal(err)
	}
	link := `It waits for <a href="deadletter?id=` + first
	b.get(t, "/deadletter?id="+parked).want(t, http.StatusOK, link)
	b.get(t, "/deadletter?id="+first).want(t, http.StatusOK).lacks(t, "It waits for")
}

// Long values are cut, and those that are no text are shown as bytes.
func TestPayloadsAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store(t, "refused")
	page := "/deadletter?id=" + b.firstID(t)
	b.exec(t, `UPDATE idem.dead_letters SET record_value = pg_catalog.convert_to(pg_catalog.repeat('ü', 100000), 'UTF8'), record_key = '\x00ff10'`)
	if a := b.get(t, page).want(t, http.StatusOK, "only the beginning is shown", "00 ff 10"); len(a.body) > 40<<10 {
		t.Errorf("the page has %d bytes", len(a.body))
	}
	b.exec(t, `UPDATE idem.dead_letters SET record_value = NULL, record_key = pg_catalog.convert_to(E'a\u202eb\u0007', 'UTF8')`)
	b.get(t, page).want(t, http.StatusOK, `a\u202eb\a`, "none")
}

func TestRetentionIsChanged(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `INSERT INTO idem.processed_events (consumer_id, key, claim_id, processed_at) VALUES (idem.consumer_id('orders'), idem.event_key('e'), pg_catalog.gen_random_uuid(), pg_catalog.now() OPERATOR(pg_catalog.-) INTERVAL '2 days')`)
	plan := b.get(t, "/retention?name=orders&amount=36&unit=hours").want(t, http.StatusOK, "1d12h?", "1 event expire at once")
	b.get(t, "/consumer?name=orders").want(t, http.StatusOK, "<dd>7d</dd>")
	b.post(t, "/retention", plan.form()).want(t, http.StatusSeeOther)
	b.get(t, "/consumer?name=orders").want(t, http.StatusOK, "<dd>1d12h</dd>")

	// A page that stayed open has counted what expires by another retention.
	b.exec(t, `UPDATE idem.consumers SET retention = INTERVAL '30 days'`)
	b.post(t, "/retention", plan.form()).want(t, http.StatusConflict, "Somebody has set the retention of orders to 30d meanwhile")
	b.get(t, "/consumer?name=orders").want(t, http.StatusOK, "<dd>30d</dd>")
	for _, query := range []string{"amount=0&unit=days", "amount=x&unit=days", "amount=1&unit=years", "amount=99999999999999&unit=hours"} {
		b.get(t, "/retention?name=orders&"+query).want(t, http.StatusUnprocessableEntity)
	}
	for _, text := range []string{"set the retention", "user=olga", "consumer=orders", "retention=36h0m0s", "change begins", "change made"} {
		if !strings.Contains(b.log.String(), text) {
			t.Errorf("%q is missing in the log: %s", text, b.log)
		}
	}
}

// Everything that matches is changed, not only what a page lists, and nothing else.
func TestChangesAreThoseOfThePlan(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store(t, append(slices.Repeat([]string{"no stock"}, 250), "timeout")...)
	plan := b.get(t, "/deadletters-replay?error=stock").want(t, http.StatusOK, "Replay 250 dead letters?", "orders: 250")
	if got := b.states(t); strings.Contains(got, "replay") {
		t.Fatal("the plan changed something")
	}
	form := plan.form()
	form.Set("reason", "stock is back")
	b.post(t, "/deadletters-replay", form).want(t, http.StatusOK, "250 dead letters will be processed again")
	if got := b.states(t); strings.Count(got, "replay") != 250 || !strings.HasSuffix(got, "open") {
		t.Error(got)
	}
	for _, text := range []string{"replay dead letters", "user=olga", "dead_letters=250", "error=stock", "changed=250", "complete=true", "stock is back", "remote=127.0.0.1"} {
		if !strings.Contains(b.log.String(), text) {
			t.Errorf("%q is missing in the log: %s", text, b.log)
		}
	}
}

// Who confirms a plan does what it said, or nothing. What fails later does not matter to it.
func TestConfirmedPlansThatNoLongerHoldChangeNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store(t, "a", "b")
	plan := b.get(t, "/deadletters-discard?consumer=orders").want(t, http.StatusOK, "Discard 2 dead letters?").form()
	b.storeAt(t, 7)
	b.exec(t, `UPDATE idem.dead_letters SET state = 'discarded', resolved_at = pg_catalog.now() WHERE record_offset OPERATOR(pg_catalog.=) 1`)
	again := b.post(t, "/deadletters-discard", plan).want(t, http.StatusConflict, "Nothing was changed", "Discard 1 dead letter?")
	if got := b.states(t); got != "open,discarded,open" {
		t.Fatal(got)
	}
	b.post(t, "/deadletters-discard", again.form()).want(t, http.StatusOK, "1 dead letter discarded")
	if got := b.states(t); got != "discarded,discarded,open" {
		t.Error(got)
	}
	b.post(t, "/deadletters-discard", url.Values{"state": {"unresolved"}}).want(t, http.StatusUnprocessableEntity)
	b.post(t, "/deadletters-discard", url.Values{}).want(t, http.StatusConflict)
}

// The dead letter is the same one, but somebody else has it replayed, or it has failed anew.
func TestConfirmedPlanForADeadLetterThatHasChanged(t *testing.T) {
	t.Parallel()
	for state, change := range map[string]string{
		"replay": `state = 'replay'`, "open": `failed_at = failed_at OPERATOR(pg_catalog.+) INTERVAL '1 microsecond'`,
	} {
		b := setup(t)
		b.store(t, "a")
		plan := b.get(t, "/deadletters-discard?id="+b.firstID(t)).want(t, http.StatusOK, "Discard 1 dead letter?").form()
		b.exec(t, `UPDATE idem.dead_letters SET `+change)
		again := b.post(t, "/deadletters-discard", plan).want(t, http.StatusConflict, "Nothing was changed", "Discard 1 dead letter?")
		if got := b.states(t); got != state {
			t.Errorf("%s: it is %s", change, got)
		}
		b.post(t, "/deadletters-discard", again.form()).want(t, http.StatusOK, "1 dead letter discarded")
	}
}

func (b *bundle) storeAt(t *testing.T, offset int64) {
	t.Helper()
	_, err := b.guard.Unfenced(partition).StoreDeadLetter(t.Context(), idem.DeadLetter{
		State: idem.DeadLetterOpen, Partition: partition, Offset: offset, EventID: "later", Error: "a",
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOneDeadLetterIsChanged(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store(t, "a", "b")
	id := b.firstID(t)
	form := b.get(t, "/deadletters-replay?id="+id).want(t, http.StatusOK, "Replay 1 dead letter?").form()
	b.post(t, "/deadletters-replay", form).want(t, http.StatusOK)
	if got := b.states(t); got != "replay,open" {
		t.Error(got)
	}
	b.get(t, "/deadletters-replay?id="+id).want(t, http.StatusOK, "stays as it is: replay")
	b.get(t, "/deadletters-replay?id=ffffffff").want(t, http.StatusNotFound)
	b.get(t, "/deadletters-replay?state=discarded").want(t, http.StatusUnprocessableEntity)
}

// A server that is away is told of in a sentence that gives nothing away.
func TestPostgreSQLIsAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.pool.Close()
	for _, path := range []string{"/", "/consumers", "/partitions", "/deadletters"} {
		b.get(t, path).want(t, http.StatusServiceUnavailable, "could not be asked").lacks(t, "closed pool")
	}
	if !strings.Contains(b.log.String(), "closed pool") {
		t.Error("the log does not say why:", b.log)
	}
}

func clientOf(t *testing.T, config *pgxpool.Config) *ops.Client {
	t.Helper()
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	client, err := ops.New(pool, ops.Config{})
	if err != nil {
		t.Fatal(err)
	}

	return client
}

// Of a server that lets nobody in a page tells the server's words, and not the address or the user.
func TestPostgreSQLLetsNobodyIn(t *testing.T) {
	t.Parallel()
	config := pgtest.NewDB(t).OwnerPool(t).Config()
	config.ConnConfig.Database = "nosuch"
	b := setup(t, func(c *console.Config) { c.Client = clientOf(t, config) })
	b.get(t, "/consumers").want(t, http.StatusInternalServerError, "database &#34;nosuch&#34; does not exist").lacks(t, config.ConnConfig.Host, "user=")
	if !strings.Contains(b.log.String(), "user=") {
		t.Error("the log does not say why:", b.log)
	}
}

// A role that lacks a right is refused what it may not do, and told what to grant.
func TestMissingRightsAreNamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	config := b.pool.Config()
	role := config.ConnConfig.Database + "_reader"
	b.exec(t, "CREATE ROLE "+role+"; GRANT USAGE ON SCHEMA idem TO "+role+"; GRANT SELECT ON ALL TABLES IN SCHEMA idem TO "+role+"; GRANT SELECT ON ALL SEQUENCES IN SCHEMA idem TO "+role)
	t.Cleanup(func() {
		if _, err := b.pool.Exec(context.WithoutCancel(t.Context()), "DROP OWNED BY "+role+"; DROP ROLE "+role); err != nil {
			t.Error(err)
		}
	})
	config.ConnConfig.RuntimeParams["role"] = role
	handler, err := console.Handler(console.Config{Client: clientOf(t, config), Authorize: console.Everybody(operator), Logger: slog.New(slog.NewTextHandler(b.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	reader := &bundle{server: httptest.NewServer(handler)}
	t.Cleanup(reader.server.Close)
	page := "/consumer?name=orders"
	for _, path := range []string{page, "/", "/consumers", "/partitions", "/deadletters", "/event?id=e", "/leases", "/outbox"} {
		reader.get(t, path).want(t, http.StatusOK).lacks(t, "ermission denied")
	}
	reader.post(t, "/pause", url.Values{"name": {"orders"}}).want(t, http.StatusForbidden, "ermission denied for table consumers", "UPDATE (paused_at, paused_by, pause_reason)")
	b.get(t, page).want(t, http.StatusOK).lacks(t, "Paused")
}

func TestConsumerIsPausedAndResumed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	page := "/consumer?name=orders"
	b.get(t, page).want(t, http.StatusOK, `action="pause"`).lacks(t, `action="resume"`)
	b.post(t, "/pause", url.Values{"name": {"orders"}, "reason": {"deploy <1>"}}).want(t, http.StatusSeeOther)
	b.get(t, page).want(t, http.StatusOK, "Paused", "by olga", "deploy &lt;1&gt;", `action="resume"`).lacks(t, `action="pause"`)
	b.get(t, "/").want(t, http.StatusOK, "state paused")
	b.get(t, "/consumers").want(t, http.StatusOK, "state paused")
	b.post(t, "/resume", url.Values{"name": {"orders"}}).want(t, http.StatusSeeOther)
	b.get(t, page).want(t, http.StatusOK, "7d").lacks(t, "Paused")
	b.post(t, "/pause", url.Values{"name": {"nosuch"}}).want(t, http.StatusNotFound)
	b.exec(t, `UPDATE idem.consumers SET closed = 'deleted'`)
	b.post(t, "/pause", url.Values{"name": {"orders"}}).want(t, http.StatusConflict)
	for _, text := range []string{"change=pause", "user=olga", "reason=\"deploy <1>\"", "change=resume"} {
		if !strings.Contains(b.log.String(), text) {
			t.Errorf("%q is missing in the log: %s", text, b.log)
		}
	}
}
