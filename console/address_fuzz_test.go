package console_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzAddress asks for pages with anything in their addresses and forms: no answer is a server's error, and nothing of
// what was sent comes back as HTML.
func FuzzAddress(f *testing.F) {
	paths := []string{
		"/", "/consumers", "/consumer", "/retention", "/pause", "/resume", "/partitions", "/deadletters", "/deadletter", "/deadletters-replay", "/deadletters-discard", "/event", "/nothing",
	}
	names := []string{"consumer", "topic", "state", "event", "error", "shape", "since", "until", "id", "ids", "retention", "reason", "by", "limit"}
	for i, value := range []string{"orders", "<b>", `"><script>`, "'", "a\x00b", "\xff", "2026-01-31T12:00", "9999999999999", "-1", "%", "0199c2a4", "replay", "javascript:x", "{{.}}"} {
		f.Add(byte(i), byte(i), value, i%2 == 0)
		f.Add(byte(7), byte(i), value, false)
	}
	b := setup(f)
	b.store(f, "refused <i>1</i>", "refused <i>2</i>")
	handler := b.server.Config.Handler
	f.Fuzz(func(t *testing.T, path, name byte, value string, post bool) {
		value = "zebra" + value
		form := url.Values{names[int(name)%len(names)]: {value}, names[int(name/16)%len(names)]: {value}, "consumer": {"orders"}}
		if name%3 == 0 {
			form.Set("consumer", value)
		}
		address := paths[int(path)%len(paths)]
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, address+"?"+form.Encode(), nil)
		if post {
			r = httptest.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code >= http.StatusInternalServerError {
			t.Errorf("%s %s?%s: status %d\n%s", r.Method, address, form.Encode(), w.Code, w.Body)
		}
		if strings.ContainsAny(value, `<>"'`) && strings.Contains(w.Body.String(), value) {
			t.Errorf("%s %s?%s: %q is in\n%s", r.Method, address, form.Encode(), value, w.Body)
		}
	})
}
