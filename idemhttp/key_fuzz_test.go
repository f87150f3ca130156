package idemhttp_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/idemhttp"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/lease"
)

// FuzzKey has a key take effect once, with quotes and without, or be refused. A server's error is never the answer.
func FuzzKey(f *testing.F) {
	for _, key := range []string{"", " ", `"`, `""`, `"a"`, `"a`, `a"`, `"a\`, `"\a"`, `a,b`, `a;b`, `"a";b`, "a\x00", "é", "\xff", "a b", strings.Repeat("x", idemhttp.MaxKeyBytes+1)} {
		f.Add(key, "ada", []byte("body"))
	}
	f.Add("k", "a\x00\xff", []byte("\x00\xff"))
	once := newOnce(f, pgtest.NewDB(f).Pool(f), lease.Config{}, idemhttp.Config{})
	runs := 0
	f.Fuzz(func(t *testing.T, key, scope string, body []byte) {
		runs++ // The next run may have the same key and another body.
		tenant, effects := fmt.Sprint(scope, runs), 0
		handler := once(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			effects++
			w.WriteHeader(http.StatusCreated)
		}))
		send := func(key string) int {
			r := request(key, string(body))
			r.Header.Set("Authorization", tenant)

			return answer(handler, r).Code
		}
		first := send(key)
		if first != http.StatusCreated {
			if first != http.StatusBadRequest || effects > 0 {
				t.Fatalf("%q: status %d, %d effects", key, first, effects)
			}

			return
		}
		same := strings.Trim(key, " ")
		if !strings.HasPrefix(same, `"`) {
			same = `"` + same + `"`
		}
		if again := send(same); again != http.StatusCreated || effects != 1 {
			t.Errorf("%q, then %q: status %d, %d effects", key, same, again, effects)
		}
	})
}
