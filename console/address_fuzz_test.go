package console_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// marked is what must not be in a page as it is: as an element, or as what ends an attribute.
const marked = `<zebra"zebra'zebra>`

// fuzzed is the id of a dead letter that there is.
const fuzzed = "0199c2a4-0000-7000-8000-000000000001"

// FuzzAddress asks for all pages with anything in the fields of their addresses and forms: no answer is a server's error, or refused for the host,
// all have the headers, and nothing of what was sent, or is stored, comes back as HTML.
func FuzzAddress(f *testing.F) {
	paths := []string{
		"/", "/consumers", "/consumer", "/retention", "/pause", "/resume", "/partitions", "/deadletters", "/deadletter", "/deadletters-replay", "/deadletters-discard", "/leases", "/lease", "/lease-took-effect",
		"/lease-rerun", "/outbox", "/outboxrecord", "/outbox-retry", "/outbox-discard", "/event", "/doctor", "/nothing",
	}
	for i := range paths {
		for _, post := range []bool{false, true} {
			f.Add(byte(i), byte(i), post, "orders", "", "", "", "", "", "", "")
			f.Add(byte(i), byte(99), post, "orders", "orders", "all", "event-0", "0199c2a4", "<i>", "2026-01-31T12:00", "1")
			f.Add(byte(i), byte(i/2), post, "", "mails", "failed", "order 1", "1", "too large", "0", "x")
			f.Add(byte(i), byte(99), post, "orders", "", "", "", "order 1", "reason", "1769860800000000", "7")
			f.Add(byte(i), byte(99), post, "", "", "", "", fuzzed, "", "", "")
			f.Add(byte(i), byte(i/3), post, "orders", "a\x00b", "undecided", "order 1", "\xff", "%", "9999999999999", "-1")
		}
	}
	f.Add(byte(3), byte(99), false, "orders", "", "", "", "", "", "", "14")
	b := setup(f)
	b.store(f, "refused "+marked, "refused <i>2</i>")
	b.undecided(f)
	b.publish(f, "mails", "failed", "parked", "")
	quoted := `'` + strings.ReplaceAll(marked, `'`, `''`) + `'`
	for _, sql := range []string{
		`UPDATE idem.dead_letters SET id = '` + fuzzed + `' WHERE record_offset OPERATOR(pg_catalog.=) 0`,
		`UPDATE idem.dead_letters SET topic = ` + quoted + `, event_id = ` + quoted + ` WHERE record_offset OPERATOR(pg_catalog.=) 1`,
		`UPDATE idem.outbox SET topic = ` + quoted + `, error = ` + quoted + ` WHERE id OPERATOR(pg_catalog.=) 1`,
		`UPDATE idem.outbox SET event_id = ` + quoted + ` WHERE id OPERATOR(pg_catalog.=) 2`,
		`UPDATE idem.leases SET until = '2026-01-31T12:00Z', error = ` + quoted,
		`INSERT INTO idem.checkpoints (consumer_id, topic, partition, next_offset, owner) VALUES (idem.consumer_id('orders'), ` + quoted + `, 3, 7, ` + quoted + `)`,
		`CREATE TABLE public.leases AS TABLE idem.leases`,
	} {
		b.exec(f, sql)
	}
	handler := b.server.Config.Handler
	f.Fuzz(func(t *testing.T, path, hostile byte, post bool, consumer, topic, state, event, id, text, when, number string) {
		fields := []string{consumer, topic, state, event, id, text, when, number}
		if int(hostile) < len(fields) {
			fields[hostile] += marked
		}
		form := url.Values{}
		for i, names := range [][]string{
			{"consumer", "name"}, {"topic"}, {"state"}, {"event"}, {"id"}, {"error", "shape", "reason", "result", "type", "mark"}, {"since", "until"}, {"amount", "previous"},
		} {
			for _, name := range names {
				if fields[i] != "" {
					form.Set(name, fields[i])
				}
			}
		}
		if form.Has("amount") {
			form.Set("unit", "days")
		}
		address := paths[int(path)%len(paths)]
		if id == "" && (strings.HasPrefix(address, "/event") || strings.HasPrefix(address, "/lease")) {
			form.Set("id", fields[3])
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1"+address+"?"+form.Encode(), nil)
		if post {
			r = httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1"+address, strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code >= http.StatusInternalServerError || w.Code == http.StatusMisdirectedRequest {
			t.Errorf("%s %s?%s: status %d\n%s", r.Method, address, form.Encode(), w.Code, w.Body)
		}
		if post && w.Code < http.StatusBadRequest { // So that the next input finds something.
			b.exec(t, `UPDATE idem.dead_letters SET state = 'open', resolved_at = NULL; UPDATE idem.outbox SET state = CASE id WHEN 1 THEN 'failed' WHEN 2 THEN 'parked' END;
				DELETE FROM idem.leases; INSERT INTO idem.leases TABLE public.leases; DELETE FROM idem.processed_events`)
		}
		secured(t, address, w.Header())
		for _, raw := range []string{"<zebra", `"zebra`, "'zebra", "<i>"} {
			if strings.Contains(w.Body.String(), raw) {
				t.Errorf("%s %s?%s: %q is in\n%s", r.Method, address, form.Encode(), raw, w.Body)
			}
		}
	})
}
