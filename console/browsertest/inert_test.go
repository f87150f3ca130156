package browsertest_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/uuid"
)

// attacks are texts that would be markup or script where they are not written as what they are. Each calls a function
// of the page if it runs.
var attacks = []string{
	`<script>pwned()</script>`, `"><img src=x onerror=pwned()>`, `' onfocus='pwned()' autofocus='`, `</textarea></select><svg onload=pwned()>`,
	`javascript:pwned()`, "{{pwned}}${pwned()}`", `&lt;script&gt;pwned()&lt;/script&gt;`, "a\r\n\r\ndata: <img src=x onerror=pwned()>\n\n",
}

// Whatever is stored is text: in each field, on each page, and in what comes later.
func TestStoredTextIsInert(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for i, text := range attacks {
		s.exec(t, `INSERT INTO idem.consumers (id, name, retention, bound_group, bound_cluster, closed, paused_at, paused_by, pause_reason) VALUES (idem.consumer_id($1), $1, '7 days', $1, $1, $1, now(), $1, $1)`, text)
		s.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, next_offset, owner) VALUES (idem.consumer_id($1), $1, $2, 0, $1)`, text, i)
		s.exec(t, `INSERT INTO idem.processed_events (consumer_id, key, claim_id, event_id, metadata) VALUES (idem.consumer_id($1), idem.event_key($1), gen_random_uuid(), $1, jsonb_build_object('user', $1::text))`, text)
		s.exec(t, `INSERT INTO idem.dead_letters (consumer_id, id, key, topic_id, topic, record_partition, record_offset, attempts, error, event_id, record_key, record_value, header_keys, header_values)
			VALUES (idem.consumer_id($1), $2, idem.event_key($1), idem.event_key('t'), $1, 0, $3, 1, $1, $1, convert_to($1, 'UTF8'), convert_to($1, 'UTF8'), ARRAY[convert_to($1, 'UTF8')], ARRAY[convert_to($1, 'UTF8')])`,
			text, uuid.NewSHA1(uuid.Nil, []byte(text)), i)
		s.exec(t, `INSERT INTO idem.leases (consumer_id, key, event_id, state, needs_decision, until, error, decided_at, decided_by, decision_reason)
			VALUES (idem.consumer_id($1), idem.event_key($1 || '!'), $1 || '!', 'unknown', true, now(), $1, now(), $1, $1)`, text)
		s.exec(t, `INSERT INTO idem.results (consumer_id, key, step, content_type, body) VALUES (idem.consumer_id($1), idem.event_key($1 || '!'), $1, $1, convert_to($1, 'UTF8')), (idem.consumer_id($1), idem.event_key($1), '', $1, '')`, text)
		s.exec(t, `INSERT INTO idem.outbox (event_id, topic, key, state, error) VALUES ($1, $1, convert_to($1, 'UTF8'), 'failed', $1)`, text)
	}
	b := newTab(t)
	for i, text := range attacks {
		pages := addresses(text, text+"!", s.one(t, fmt.Sprintf(`SELECT id::text FROM idem.dead_letters WHERE record_offset = %d`, i)))
		escaped := url.QueryEscape(text)
		pages = append(pages, "event?id="+escaped, "event?consumer="+escaped+"&id="+escaped, fmt.Sprint("outboxrecord?id=", i+1), "outbox?topic="+escaped)
		for _, address := range pages {
			b.open(s.url + address)
			b.wantInert(address)
		}
	}
	s.exec(t, `UPDATE idem.consumers SET closed = NULL`) // The page of a change refuses a closed one, with its texts.
	for _, text := range attacks {
		change := "retention?amount=1&unit=days&name=" + url.QueryEscape(text)
		b.open(s.url + change)
		b.run(chromedp.WaitVisible(`.go`))
		b.wantInert(change)
	}
	for _, live := range []string{"", "partitions"} {
		b.open(s.url + live)
		b.sees("Live")
		s.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, next_offset, owner) SELECT consumer_id, topic, partition + 1000, 7, owner FROM idem.checkpoints WHERE partition < 1000 ON CONFLICT DO NOTHING`)
		s.exec(t, `UPDATE idem.checkpoints SET owner = owner || '!', next_offset = next_offset + 12345`)
		if live == "partitions" {
			b.sees("12,352")
		}
		b.wantInert("live " + live)
	}
}

// wantInert checks that the page has no element and no attribute that are not its own.
func (b *tab) wantInert(address string) {
	b.t.Helper()
	if n := eval[int](b, `document.querySelectorAll('script:not([src="console.js"]), img:not([src="icon.svg"]), [onerror], [onload], [onfocus], [autofocus], iframe, a[href^="javascript" i]').length`); n > 0 {
		b.t.Errorf("%s: %d elements are not the page's", address, n)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, problem := range b.problems {
		if refused := address == "nosuch" || strings.HasPrefix(address, "retention?") && strings.Contains(problem, "409 (Conflict)"); !refused {
			b.t.Errorf("%s: %s", address, problem)
		}
	}
	b.problems = nil
}
