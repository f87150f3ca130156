package browsertest_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/nova-events/idempotent-consumer/console"
)

// addresses are those of all pages. The id is that of a dead letter.
func addresses(consumer, leased, id string) []string {
	name := url.QueryEscape(consumer)
	lease := "?" + url.Values{"consumer": {consumer}, "id": {leased}}.Encode()

	return []string{
		"", "consumers", "consumer?name=" + name, "retention?amount=1&unit=days&name=" + name, "partitions", "partitions?consumer=" + name, "deadletters", "deadletters?state=all&consumer=" + name,
		"deadletter?id=" + id, "deadletters-replay", "deadletters-discard", "leases", "lease" + lease, "lease-took-effect" + lease, "lease-rerun" + lease,
		"outbox", "outboxrecord?id=1", "outbox-retry", "outbox-discard", "event", "event?id=event-1", "event?id=nosuch", "doctor", "nosuch",
	}
}

const anyID = `SELECT id::text FROM idem.dead_letters ORDER BY record_offset LIMIT 1`

// accessible is a script that returns what people who do not see the page, or use no mouse, would miss.
const accessible = `(() => {
	const faults = [];
	const fault = (what, node) => faults.push(what + ': ' + (node ? node.outerHTML.slice(0, 120) : ''));
	if (!document.documentElement.lang) fault('no language');
	if (document.querySelectorAll('h1').length !== 1) fault('not one h1');
	if (!document.title) fault('no title');
	for (const e of document.querySelectorAll('input:not([type=hidden]), select, button'))
		if (!e.labels?.length && !e.textContent.trim() && !e.getAttribute('aria-label')) fault('no name', e);
	for (const e of document.querySelectorAll('a')) if (!e.textContent.trim()) fault('no text', e);
	for (const e of document.querySelectorAll('table')) if (!e.caption) fault('no caption', e);
	for (const e of document.querySelectorAll('th')) if (!e.scope) fault('no scope', e);
	for (const e of document.querySelectorAll('img')) if (!e.hasAttribute('alt')) fault('no alt', e);
	for (const e of document.querySelectorAll('.scroll, pre')) if (e.tabIndex !== 0) fault('cannot be scrolled by keys', e);
	for (const e of document.querySelectorAll('.state')) if (!e.textContent.trim()) fault('color alone', e);
	return faults;
})()`

// contrast is a script that returns texts that are hard to read (WCAG 2.2 AA, 4.5 to 1).
const contrast = `(() => {
	const rgb = (text) => text.match(/[\d.]+/g).map(Number);
	const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
	const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3) return c; } return [255, 255, 255]; };
	const faults = new Set();
	for (const e of document.querySelectorAll('body *')) {
		if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || !e.checkVisibility()) continue;
		const a = light(rgb(getComputedStyle(e).color).slice(0, 3)), b = light(ground(e));
		const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		if (ratio < 4.5) faults.add(ratio.toFixed(1) + ' ' + e.tagName + '.' + e.className + ' ' + e.textContent.trim().slice(0, 30));
	}
	return [...faults];
})()`

// Each page is whole, runs without errors, and can be read by everybody, by day and by night, on a small screen too.
func TestEveryPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.fill(t)
	s.exec(t, `UPDATE idem.dead_letters SET state = (ARRAY['open', 'parked', 'replay', 'replayed', 'discarded'])[record_offset]`)
	s.exec(t, `INSERT INTO idem.consumers (id, name, retention) SELECT idem.consumer_id(n), n, '7 days' FROM repeat('x', 255) n`)
	s.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, next_offset) SELECT id, repeat('y', 249), 0, 5 FROM idem.consumers WHERE name <> 'orders'`)
	b := newTab(t)
	for _, address := range addresses("orders", "event-1", s.one(t, anyID)) {
		for _, scheme := range []string{"light", "dark"} {
			b.scheme(scheme)
			b.open(s.url + address)
			for _, fault := range append(eval[[]string](b, accessible), eval[[]string](b, contrast)...) {
				t.Errorf("%s, %s: %s", address, scheme, fault)
			}
		}
		b.run(chromedp.EmulateViewport(390, 800))
		if wide := eval[int](b, `document.documentElement.scrollWidth`); wide > 390 {
			t.Errorf("%s: the page is %d wide on a small screen", address, wide)
		}
		b.run(chromedp.ResetViewport())
	}
	dark := eval[string](b, `getComputedStyle(document.body).backgroundColor`)
	if dark != "rgb(16, 22, 27)" {
		t.Errorf("the background is %s at night", dark)
	}
	for i, problem := range b.problems {
		if strings.Contains(problem, "404") { // Of the page that there is not.
			b.problems[i] = ""
		}
	}
	b.problems = deleteEmpty(b.problems)
	b.clean()
}

func deleteEmpty(texts []string) (kept []string) {
	for _, text := range texts {
		if text != "" {
			kept = append(kept, text)
		}
	}

	return kept
}

// What moves does so without a new load, links keep the focus, and it can be paused.
func TestLive(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.fill(t)
	b := newTab(t)
	b.open(s.url + "partitions")
	b.sees("Live", "1,000")
	b.run(chromedp.Focus(`td a`))
	s.exec(t, `UPDATE idem.checkpoints SET next_offset = 2000 WHERE partition = 0`)
	b.sees("2,000", "moving")
	if focused := eval[string](b, `document.activeElement.textContent`); focused != "orders" {
		t.Errorf("the focus is on %q", focused)
	}
	s.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, next_offset) VALUES (idem.consumer_id('orders'), 'orders', 7, 777)`)
	b.sees("777", "3 partitions")

	b.run(chromedp.Click(`.live button`))
	b.sees("Paused")
	s.exec(t, `UPDATE idem.checkpoints SET next_offset = 3000`)
	b.run(chromedp.Click(`.live button`))
	b.sees("3,000", "Live")

	s.pool.Close()
	b.sees("PostgreSQL could not be asked")
	b.clean()
}

// Somebody without a mouse filters, looks at what a change would do, and makes it.
func TestKeyboardAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.fill(t)
	b := newTab(t)
	b.open(s.url)
	b.press(kb.Tab)
	if first := eval[string](b, `document.activeElement.textContent`); first != "Skip to the content" {
		t.Errorf("the first stop is %q", first)
	}
	b.tabTo("Dead letters")
	b.press(kb.Enter)
	b.sees("5 of 5")
	b.tabTo("Error contains")
	b.press("order 2", kb.Enter)
	b.sees("1 of 1")
	b.tabTo("Replay…")
	b.press(kb.Enter)
	b.sees("Replay 1 dead letter?")
	b.tabTo("Reason, for the log")
	b.press("stock is back")
	b.tabTo("Replay 1 dead letter")
	b.press(kb.Enter)
	b.sees("1 dead letter will be processed again")
	if got := s.one(t, `SELECT string_agg(record_offset || ' ' || state, ',') FROM idem.dead_letters WHERE state <> 'open'`); got != "2 replay" {
		t.Error(got)
	}
	b.clean()
}

// tabTo goes from stop to stop until one of that name has the focus, which must be seen.
func (b *tab) tabTo(name string) {
	b.t.Helper()
	const stop = `(() => { const e = document.activeElement; return e.labels?.[0]?.textContent.trim() || e.textContent.trim(); })()`
	for range 60 {
		b.press(kb.Tab)
		if strings.HasPrefix(eval[string](b, stop), name) {
			if eval[string](b, `getComputedStyle(document.activeElement).outlineStyle`) == "none" {
				b.t.Errorf("the focus on %q is not seen", name)
			}

			return
		}
	}
	b.t.Fatalf("%q is not reached\n%s", name, b.text())
}

// All is read, and all is done, without JavaScript.
func TestWithoutJavaScript(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.fill(t)
	b := newTab(t)
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	for address, text := range map[string]string{"": "Consumers", "partitions": "1,000", "consumers": "orders", "doctor": "In order"} {
		b.open(s.url + address)
		if got := b.text(); !strings.Contains(got, text) || strings.Contains(got, "Pause updates") {
			t.Errorf("%s: %s", address, got)
		}
	}
	b.open(s.url + "deadletters")
	b.run(chromedp.Click(`button[formaction=deadletters-discard]`), chromedp.WaitVisible(`.danger`), chromedp.Click(`.danger`), chromedp.WaitNotPresent(`.danger`))
	if got := b.text(); !strings.Contains(got, "5 dead letters discarded") {
		t.Error(got)
	}
	b.open(s.url + "consumer?name=orders")
	b.run(chromedp.SendKeys(`input[name=amount]`, "14"), chromedp.Click(`form[action=retention] button`), chromedp.WaitVisible(`.go`), chromedp.Click(`.go`), chromedp.WaitNotPresent(`.go`))
	if got := s.one(t, `SELECT (retention = interval '14 days')::text FROM idem.consumers`); got != "true" {
		t.Error(got)
	}
	b.clean()
}

func TestLogin(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *console.Config) { c.Token = "correct-horse-battery-staple" })
	s.fill(t)
	b := newTab(t)
	b.open(s.url)
	b.press("wrong", kb.Enter)
	b.sees("This is not the token.")
	for _, fault := range append(eval[[]string](b, accessible), eval[[]string](b, contrast)...) {
		t.Error(fault)
	}
	b.press("correct-horse-battery-staple", kb.Enter)
	b.sees("Events remembered", "Live")
	b.run(chromedp.Click(`form[action=logout] button`))
	b.sees("Token")
	if cookies := eval[string](b, `document.cookie`); cookies != "" {
		t.Errorf("scripts see the cookie: %s", cookies)
	}
}
