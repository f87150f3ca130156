package browsertest_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/console"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/ops"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// site is a database of a test's own with a console.
type site struct {
	pool *pgxpool.Pool
	url  string
}

func newSite(t *testing.T, change ...func(*console.Config)) *site {
	t.Helper()
	s := &site{pool: pgtest.NewServiceDB(t).Pool(t)}
	client, err := ops.New(s.pool, ops.Config{})
	if err != nil {
		t.Fatal(err)
	}
	config := console.Config{
		Client: client, Authorize: console.Everybody(console.User{Name: "olga", Change: true, Payloads: true}), Logger: slog.New(slog.DiscardHandler),
	}
	for _, one := range change {
		one(&config)
	}
	handler, err := console.Handler(config)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	s.url = server.URL + "/"

	return s
}

// exec runs SQL with its arguments.
func (s *site) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// one returns the text that a query selects.
func (s *site) one(t *testing.T, sql string) (text string) {
	t.Helper()
	if err := s.pool.QueryRow(t.Context(), sql).Scan(&text); err != nil {
		t.Fatal(err)
	}

	return text
}

// fill stores a consumer with two partitions and five dead letters, four leases, and five records in the outbox.
func (s *site) fill(t *testing.T) {
	t.Helper()
	s.exec(t, `INSERT INTO idem.consumers (id, name, retention) VALUES (idem.consumer_id('orders'), 'orders', '7 days')`)
	s.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, next_offset, owner) SELECT idem.consumer_id('orders'), 'orders', p, 1000, 'host/7' FROM generate_series(0, 1) p`)
	s.exec(t, `INSERT INTO idem.dead_letters (consumer_id, id, key, topic_id, topic, record_partition, record_offset, attempts, error, event_id, record_key, record_value)
		SELECT idem.consumer_id('orders'), gen_random_uuid(), idem.event_key('event-' || n), idem.event_key('t'), 'orders', 0, n, 3, 'order ' || n || ': no stock', 'event-' || n, 'key', '{"n": 1}'
		FROM generate_series(1, 5) n`)
	s.exec(t, `INSERT INTO idem.leases (consumer_id, key, event_id, state, needs_decision, token, until, error)
		SELECT idem.consumer_id('orders'), idem.event_key('event-' || n), 'event-' || n, (ARRAY['unknown', 'running', 'released', 'unknown'])[n], n = 1, CASE n WHEN 2 THEN gen_random_uuid() END, now() + CASE n WHEN 2 THEN '1 hour' ELSE '-1 hour' END::interval, 'no answer'
		FROM generate_series(1, 4) n`)
	s.exec(t, `INSERT INTO idem.results (consumer_id, key, step, content_type, body) VALUES (idem.consumer_id('orders'), idem.event_key('event-1'), 'charge', 'application/json', '{"charge": "ch_1"}')`)
	s.exec(t, `INSERT INTO idem.outbox (event_id, topic, key_hash, key, value, state, error) SELECT 'event-' || n, 'mails', 7, 'key', 'value', (ARRAY['failed', 'parked', 'retry', 'discard'])[n], 'too large' FROM generate_series(1, 5) n`)
}

// tab is a tab of a browser that remembers what went wrong in it.
type tab struct {
	context.Context //nolint:containedctx // The tab is where its actions run, until its test ends.

	t *testing.T

	mu       sync.Mutex
	problems []string
}

const (
	timeout  = 2 * time.Minute  // of a test in the browser
	patience = 20 * time.Second // with what is to be shown
)

// newTab starts a browser. Without one a test is skipped, in CI it fails.
func newTab(t *testing.T) *tab {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("Chromium is missing")
		}
		t.Skip("Chromium is missing")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.WindowSize(1360, 860), chromedp.Flag("disable-dev-shm-usage", true))
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	browser, closeBrowser := chromedp.NewContext(allocator)
	err = chromedp.Do(browser) // Starts it.
	ctx, cancel := context.WithTimeout(browser, timeout)
	b := &tab{Context: ctx, t: t}
	t.Cleanup(func() {
		cancel()
		closeBrowser()
		stop()
	})
	if err == nil {
		err = chromedp.Listen(ctx, b.watch)
	}
	if err != nil {
		t.Fatal(err)
	}
	call(b, log.Enable, cdp.Empty{})
	call(b, runtime.Enable, cdp.Empty{})
	call(b, page.Enable, page.EnableParams{})

	return b
}

// watch notes errors: exceptions, what the policy of the page's content has blocked, dialogs.
func (b *tab) watch(event any) {
	var problem string
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		problem = e.ExceptionDetails.Text
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError {
			problem = e.Entry.Text + " " + e.Entry.URL
		}
	case *page.EventJavascriptDialogOpening:
		problem = "a dialog: " + e.Message
	}
	if problem != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.problems = append(b.problems, problem)
	}
}

// clean checks that nothing has gone wrong.
func (b *tab) clean() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, problem := range b.problems {
		b.t.Error(problem)
	}
	b.problems = nil
}

func (b *tab) run(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.Context, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// get returns what an action does.
func get[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	value, err := chromedp.Run(b.Context, action)
	if err != nil {
		b.t.Fatal(err)
	}

	return value
}

// call sends a command of the browser's protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b.Context, command, params); err != nil {
		b.t.Fatal(err)
	}
}

// open opens an address.
func (b *tab) open(url string) {
	b.t.Helper()
	b.run(chromedp.Navigate(url), chromedp.WaitReady("main"))
}

// text is what a page shows.
func (b *tab) text() string {
	b.t.Helper()

	return get(b, chromedp.Text("body"))
}

// sees waits until the page shows texts.
func (b *tab) sees(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		for until := time.Now().Add(patience); !eval[bool](b, `document.body?.innerText.includes(`+quote(text)+`) ?? false`); {
			if time.Now().After(until) {
				b.t.Fatalf("%q is not shown in\n%s", text, b.text())
			}
			b.run(chromedp.Sleep(50 * time.Millisecond))
		}
	}
}

// eval returns what an expression is.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()

	return get(b, chromedp.Evaluate[T](expression))
}

// scheme chooses between light and dark.
func (b *tab) scheme(name string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
}

// press types keys, one after the other.
func (b *tab) press(keys ...string) {
	b.t.Helper()
	for _, key := range keys {
		b.run(chromedp.KeyEvent(key))
	}
}

// quote writes a text as JavaScript.
func quote(text string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`", "$", `\$`).Replace(text) + "`"
}
