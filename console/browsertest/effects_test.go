package browsertest_test

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// fillEffects stores payments of which two wait for a decision, and mails of which Kafka refuses some.
func (s *site) fillEffects(t *testing.T) {
	t.Helper()
	s.exec(t, `INSERT INTO idem.consumers (id, name, retention) VALUES (idem.consumer_id('payments-charge'), 'payments-charge', '7 days')`)
	s.exec(t, `INSERT INTO idem.leases (consumer_id, key, event_id, state, attempts, unknown, needs_decision, token, first_at, until, error)
		SELECT idem.consumer_id('payments-charge'), idem.event_key(id), id, state, attempts, unknown, state = 'unknown', CASE state WHEN 'running' THEN gen_random_uuid() END,
			now() - age::interval, now() - age::interval + CASE state WHEN 'unknown' THEN '2 s' ELSE age::interval + '20 s' END::interval, error
		FROM (VALUES ('payment-4711', 'unknown', 1, 1, '14 min', 'POST https://api.example.com/v1/charges: no answer within 10s'), ('payment-4688', 'unknown', 2, 1, '3 h', 'lease: the function did not return: it panicked or ended its goroutine'),
			('payment-4802', 'running', 1, 0, '2 s', ''), ('payment-4790', 'released', 3, 0, '40 s', 'POST https://api.example.com/v1/charges: 503 Service Unavailable')) AS l (id, state, attempts, unknown, age, error)`)
	s.exec(t, `INSERT INTO idem.results (consumer_id, key, step, content_type, body, stored_at) VALUES (idem.consumer_id('payments-charge'), idem.event_key('payment-4711'), 'reserve', 'application/json', '{"reservation": "r_8812", "cents": 4990}', now() - interval '14 min')`)
	s.exec(t, `INSERT INTO idem.outbox (event_id, topic, key_hash, key, value, state, error, created_at)
		SELECT 'mail-' || n, 'mails', k, convert_to('customer-' || k, 'UTF8'), convert_to(repeat('x', CASE n % 4 WHEN 1 THEN 1400000 ELSE 800 END), 'UTF8'), CASE WHEN n > 8 THEN NULL WHEN n % 4 = 1 THEN 'failed' ELSE 'parked' END,
			CASE WHEN n <= 8 AND n % 4 = 1 THEN 'outbox: Kafka refuses the record: [10] Message Size Too Large: the server has a configurable maximum message size' END, now() - make_interval(mins => 30 - n)
		FROM (SELECT n, 1 + (n - 1) / 4 AS k FROM generate_series(1, 11) n) AS r`)
}

// Somebody looks at what an event waits for, decides about it, and has records sent again.
func TestEffectsAreDecided(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.fillEffects(t)
	b := newTab(t)
	b.open(s.url)
	b.sees("Live", "2", "2 failed")
	b.run(chromedp.Click(`a[href="leases?state=undecided"]`))
	b.sees("2 leases")
	b.open(s.url + "leases")
	b.run(chromedp.Click(`th a[href*="payment-4711"]`))
	b.sees("waits for somebody to decide", "r_8812")
	b.shot("console-lease", 640)
	b.run(chromedp.Click(`button[formaction=lease-took-effect]`), chromedp.WaitVisible(`textarea`), chromedp.SendKeys(`textarea`, `{"charge": "ch_1"}`),
		chromedp.SendKeys(`input[name=reason]`, "charge ch_1 is in their list"), chromedp.Click(`.danger`))
	b.sees("What became of an event", "decided that the effect had happened: charge ch_1 is in their list", "18 B of application/json")
	b.open(s.url + "leases?state=undecided")
	b.run(chromedp.Click(`th a[href*="payment-4688"]`), chromedp.WaitVisible(`button[formaction=lease-rerun]`), chromedp.Click(`button[formaction=lease-rerun]`))
	b.sees("The next delivery runs it again")
	b.run(chromedp.Click(`.danger`))
	b.sees("released", "Run again by decision", "olga")

	b.open(s.url + "outbox")
	b.sees("Live", "ago")
	b.shot("console-outbox", 680)
	s.exec(t, `INSERT INTO idem.outbox (event_id, topic) VALUES ('mail-12', 'mails')`)
	b.sees("Waiting\n4")
	b.run(chromedp.Click(`button[formaction=outbox-retry]`))
	b.sees("Retry 2 records?")
	b.run(chromedp.Click(`.go`))
	b.sees("2 records will be sent again")
	if got := s.one(t, `SELECT count(*)::text FROM idem.outbox WHERE state = 'retry'`); got != "2" {
		t.Errorf("%s records are sent again, want 2", got)
	}
	b.clean()
}
