package console_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/console"
	"github.com/nova-events/idempotent-consumer/ops"
)

const token = "correct-horse-battery-staple"

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for what, config := range map[string]console.Config{
		"nothing": {},
	} {
		if _, err := console.Handler(config); !errors.Is(err, console.ErrInvalidConfig) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What a page of another site, or one whose name leads to this machine, can have a browser send.
func TestRequestsOfOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store(t, "refused")
	plan := b.get(t, "/deadletters-discard").want(t, http.StatusOK).form()
	local := strings.TrimPrefix(b.server.URL, "http://")
	for what, c := range map[string]struct {
		status int
		answer answer
	}{
		"a form":              {http.StatusForbidden, b.post(t, "/deadletters-discard", plan, header("Origin", "https://evil.example"))},
		"a form, said so":     {http.StatusForbidden, b.post(t, "/deadletters-discard", plan, header("Sec-Fetch-Site", "cross-site"))},
		"a form without site": {http.StatusForbidden, b.post(t, "/deadletters-discard", plan, header("Origin", "null"))},
		"another port":        {http.StatusForbidden, b.post(t, "/deadletters-discard", plan, header("Sec-Fetch-Site", "same-site"))},
		"a part of its page":  {http.StatusForbidden, b.get(t, "/deadletters", header("Sec-Fetch-Site", "cross-site"), header("Sec-Fetch-Mode", "cors"))},
		"rebinding":           {http.StatusMisdirectedRequest, b.get(t, "/", host("evil.example"))},
		"rebinding, a form":   {http.StatusMisdirectedRequest, b.post(t, "/deadletters-discard", plan, host("evil.example:80"), header("Origin", "http://evil.example:80"))},
		"a number":            {http.StatusMisdirectedRequest, b.get(t, "/", host("0.0.0.0"))},
	} {
		if c.answer.status != c.status {
			t.Errorf("%s: status %d, want %d", what, c.answer.status, c.status)
		}
		c.answer.lacks(t, "refused</td>")
	}
	if got := b.states(t); got != "open" {
		t.Fatalf("a request of another site changed something: %s", got)
	}
	for what, change := range map[string]func(*http.Request){
		"localhost": host("localhost:8080"), "IPv6": host("[::1]:8080"), "a link": func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Sec-Fetch-Mode", "navigate")
		}, "itself": header("Origin", "http://"+local),
	} {
		if a := b.get(t, "/deadletters", change); a.status != http.StatusOK {
			t.Errorf("%s: status %d", what, a.status)
		}
	}
	b.post(t, "/deadletters-discard", plan, header("Origin", "http://"+local)).want(t, http.StatusOK)
}

func TestHostsAreThoseOfTheConfiguration(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *console.Config) { c.Hosts = []string{"ops.example.com"} })
	b.get(t, "/doctor", host("OPS.example.com:443")).want(t, http.StatusOK)
	b.get(t, "/", host("localhost")).want(t, http.StatusMisdirectedRequest)
}

// Nothing is shown, and nothing done, without the token.
func TestTokenIsAskedFor(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *console.Config) { c.Token = token })
	b.store(t, "refused")
	for _, path := range []string{"/", "/deadletters", "/deadletter?id=0199", "/doctor", "/live?view=overview", "/nosuch"} {
		b.get(t, path).want(t, http.StatusUnauthorized, "Token").lacks(t, "refused", "orders")
		b.get(t, path, header("Authorization", "Bearer wrong-horse-battery-staple")).want(t, http.StatusUnauthorized)
		b.get(t, path, header("Authorization", token)).want(t, http.StatusUnauthorized)
		b.get(t, path, header("Cookie", "idem_console=99999999999.00")).want(t, http.StatusUnauthorized)
	}
	b.post(t, "/deadletters-discard", url.Values{"state": {"all"}}).want(t, http.StatusUnauthorized)
	b.post(t, "/login", url.Values{"token": {"wrong"}}).want(t, http.StatusUnauthorized, "not the token")
	b.get(t, "/login?token="+token).want(t, http.StatusUnauthorized) // It would be in histories and logs.
	b.get(t, "/style.css").want(t, http.StatusOK)
	b.get(t, "/", header("Authorization", "Bearer "+token)).want(t, http.StatusOK)

	in := b.post(t, "/login", url.Values{"token": {token}}).want(t, http.StatusSeeOther)
	cookie := in.header.Get("Set-Cookie")
	for _, attribute := range []string{"HttpOnly", "SameSite=Strict"} {
		if !strings.Contains(cookie, attribute) {
			t.Errorf("%s is missing in %s", attribute, cookie)
		}
	}
	if strings.Contains(cookie, token) {
		t.Errorf("the cookie holds the token: %s", cookie)
	}
	session, _, _ := strings.Cut(cookie, ";")
	b.get(t, "/", header("Cookie", session)).want(t, http.StatusOK, "Log out")
	name, signature, _ := strings.Cut(session, ".")
	b.get(t, "/", header("Cookie", name+"0."+signature)).want(t, http.StatusUnauthorized) // A longer life.
	if out := b.post(t, "/logout", nil, header("Cookie", session)).want(t, http.StatusSeeOther); !strings.Contains(out.header.Get("Set-Cookie"), "Max-Age=0") {
		t.Error(out.header)
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *console.Config) {
		c.Authorize = func(r *http.Request) (console.User, error) {
			switch name := r.Header.Get("X-User"); name {
			case "":
				return console.User{}, errors.New("nobody is logged in at ldap-7")
			case "olga":
				return operator, nil
			default:
				return console.User{Name: name}, nil
			}
		}
	})
	b.store(t, "refused")
	b.get(t, "/deadletters").want(t, http.StatusForbidden).lacks(t, "refused</td>", "ldap-7")
	if !strings.Contains(b.log.String(), "ldap-7") {
		t.Error("the log does not say why:", b.log)
	}
	reader := header("X-User", "rita")
	b.get(t, "/deadletters", reader).want(t, http.StatusOK, "refused", "rita", "read only").lacks(t, "Replay…", "Discard…")
	b.get(t, "/consumer?name=orders", reader).want(t, http.StatusOK).lacks(t, "Change the retention")
	b.get(t, "/consumer?name=orders", header("X-User", "olga")).want(t, http.StatusOK, "Change the retention", "may change")
	b.publish(t, "mails", "failed")
	b.undecided(t)
	for _, path := range []string{
		"/deadletters-replay", "/deadletters-discard", "/retention?name=orders&amount=1&unit=days", "/pause", "/resume",
		"/outbox-retry?id=1", "/outbox-discard?id=1", "/lease-took-effect?consumer=orders&id=order+1", "/lease-rerun?consumer=orders&id=order+1",
	} {
		if path != "/pause" && path != "/resume" {
			b.get(t, path, reader).want(t, http.StatusForbidden)
		}
		b.post(t, path, url.Values{"name": {"orders"}, "amount": {"1"}, "unit": {"days"}, "id": {"1", "order 1"}}, reader).want(t, http.StatusForbidden)
	}
	if got := b.states(t) + " " + b.published(t); got != "open failed" {
		t.Error(got)
	}
	b.get(t, leased, reader).want(t, http.StatusOK, "undecided")
}

func TestSizesAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.post(t, "/deadletters-replay", url.Values{"reason": {strings.Repeat("x", 100<<10)}}).want(t, http.StatusBadRequest)
	b.post(t, "/deadletters-replay", url.Values{"reason": {strings.Repeat("x", 1000)}}).want(t, http.StatusUnprocessableEntity)
	b.get(t, "/deadletters?error="+strings.Repeat("x", 10<<10)).want(t, http.StatusRequestURITooLong)
}

// There are no folders, so no path leads anywhere but to a page.
func TestPathTricks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, path := range []string{
		"//evil.example/", "/../config.go", "/%2e%2e/config.go", "/assets/style.css", "/templates/layout.html", "/deadletters/", "/./deadletters", "/style.css/..", "/style.css%00", "/consumer/orders",
		"//deadletters", "/deadletters;x", "/%64%65%61%64letters%2f",
	} {
		a := b.get(t, path)
		if a.status != http.StatusNotFound || a.header.Get("Location") != "" {
			t.Errorf("%s: status %d, %v", path, a.status, a.header)
		}
	}
	for _, method := range []string{http.MethodDelete, http.MethodPut, http.MethodPost, "TRACE"} {
		if a := b.request(t, method, "/deadletters", nil); a.status != http.StatusNotFound {
			t.Errorf("%s: status %d", method, a.status)
		}
	}
}

func TestEveryAnswerIsSecure(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, path := range []string{"/", "/style.css", "/console.js", "/icon.svg", "/nosuch", "/deadletter?id=zz", "/doctor"} {
		a := b.get(t, path)
		secured(t, path, a.header)
		a.lacks(t, "<script>", " style=", "onclick", "javascript:")
	}
}

// secured checks the headers of an answer.
func secured(t *testing.T, path string, header http.Header) {
	t.Helper()
	for name, part := range map[string]string{
		"Content-Security-Policy": "default-src 'none'", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
	} {
		if !strings.Contains(header.Get(name), part) {
			t.Errorf("%s: %s is %q", path, name, header.Get(name))
		}
	}
}

// A page whose own name leads to the console's address is of one origin with it (DNS rebinding). On an address
// that is not loopback a name is taken only where a token is asked for.
func TestNamesAreRefusedWhereNobodyIsAsked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	client, err := ops.New(b.pool, ops.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host, token string
		want        int
	}{
		{"10.1.2.3:8080", "", http.StatusOK},
		{"evil.example:8080", "", http.StatusMisdirectedRequest},
		{"ops.example.com:8080", token, http.StatusUnauthorized},
	} {
		handler, err := console.Handler(console.Config{Client: client, Authorize: console.Everybody(console.User{Change: true}), Token: c.token})
		if err != nil {
			t.Fatal(err)
		}
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+c.host+"/consumers", nil) // To no address of this machine's.
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if answer.Code != c.want {
			t.Errorf("%s: status %d, want %d", c.host, answer.Code, c.want)
		}
	}
}

// Who only asks for the headers of a stream would take a viewer's place for minutes and be told nothing.
func TestHeadersOfAStreamAreNotAsked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodHead, b.server.URL+"/live?view=overview", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := b.server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusNotFound {
		t.Errorf("status %d, %v", answer.StatusCode, err)
	}
}

// A path that is refused for its length made a line of as many bytes, without a token.
func TestLongPathsAreCutInTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *console.Config) { c.Token = token })
	b.get(t, "/"+strings.Repeat("x", 500_000)).want(t, http.StatusRequestURITooLong)
	if n := len(b.log.String()); n == 0 || n > 20_000 {
		t.Errorf("%d bytes are logged", n)
	}
}
