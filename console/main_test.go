package console_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/console"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/logbuffer"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/ops"
)

var partition = idem.Partition{Topic: "orders", Number: 3}

// bundle is a database of a test's own with the consumer orders, and a console of the role that owns the tables, which
// listens on a loopback address.
type bundle struct {
	pool   *pgxpool.Pool
	guard  *idem.Guard
	server *httptest.Server
	log    *logbuffer.Buffer
}

// operator may do everything.
var operator = console.User{Name: "olga", Change: true, Payloads: true}

func setup(t testing.TB, change ...func(*console.Config)) *bundle {
	t.Helper()
	b := &bundle{pool: pgtest.NewDB(t).OwnerPool(t), log: &logbuffer.Buffer{}}
	client, err := ops.New(b.pool, ops.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if b.guard, err = idem.New(b.pool, idem.Config{Consumer: "orders"}); err == nil {
		err = b.guard.Register(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	config := console.Config{Client: client, Authorize: console.Everybody(operator), Logger: slog.New(slog.NewTextHandler(b.log, nil))}
	for _, one := range change {
		one(&config)
	}
	handler, err := console.Handler(config)
	if err != nil {
		t.Fatal(err)
	}
	b.server = httptest.NewServer(handler)
	t.Cleanup(b.server.Close)

	return b
}

// store stores open dead letters, one for each error.
func (b *bundle) store(t testing.TB, errors ...string) {
	t.Helper()
	for i, text := range errors {
		_, err := b.guard.Unfenced(partition).StoreDeadLetter(t.Context(), idem.DeadLetter{
			State: idem.DeadLetterOpen, Partition: partition, Offset: int64(i), Key: fmt.Appendf(nil, "key-%d", i), Value: []byte(`{"card":"4111"}`), EventID: fmt.Sprint("event-", i), Error: text,
			Headers: []idem.DeadLetterHeader{{Key: "trace", Value: []byte("secret-header")}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// states are the states of all dead letters, in the order of their offsets.
func (b *bundle) states(t *testing.T) (text string) {
	t.Helper()
	if err := b.pool.QueryRow(t.Context(), `SELECT coalesce(string_agg(state, ',' ORDER BY record_offset), '') FROM idem.dead_letters`).Scan(&text); err != nil {
		t.Fatal(err)
	}

	return text
}

func (b *bundle) exec(t testing.TB, sql string) {
	t.Helper()
	if _, err := b.pool.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// answer is what the console says to a request.
type answer struct {
	status int
	header http.Header
	body   string
}

// request sends a request that a function may change. Redirects are not followed.
func (b *bundle) request(t *testing.T, method, path string, form url.Values, change ...func(*http.Request)) answer {
	t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(t.Context(), method, b.server.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, one := range change {
		one(r)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // It is read.
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}

	return answer{response.StatusCode, response.Header, string(text)}
}

func (b *bundle) get(t *testing.T, path string, change ...func(*http.Request)) answer {
	t.Helper()

	return b.request(t, http.MethodGet, path, nil, change...)
}

func (b *bundle) post(t *testing.T, path string, form url.Values, change ...func(*http.Request)) answer {
	t.Helper()

	return b.request(t, http.MethodPost, path, form, change...)
}

// want checks the status, and that the body holds texts.
func (a answer) want(t *testing.T, status int, texts ...string) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d\n%s", a.status, status, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			t.Errorf("%q is missing in\n%s", text, a.body)
		}
	}

	return a
}

// lacks checks that the body does not hold texts.
func (a answer) lacks(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(a.body, text) {
			t.Errorf("%q is shown in\n%s", text, a.body)
		}
	}
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([a-z]+)" value="([^"]*)">`)

// form is the hidden fields of a page.
func (a answer) form() url.Values {
	form := url.Values{}
	for _, match := range hiddenField.FindAllStringSubmatch(a.body, -1) {
		form.Add(match[1], strings.NewReplacer("&#43;", "+", "&amp;", "&", "&#34;", `"`, "&lt;", "<", "&gt;", ">", "&#39;", "'").Replace(match[2]))
	}

	return form
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
