package console_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/console"
	"github.com/nova-events/idempotent-consumer/lease"
)

const leased = "/lease?consumer=orders&id=order+1"

// pay makes an attempt at an effect which gets no answer after its first step. NeedsDecision is its policy.
func (b *bundle) pay(t testing.TB) (lease.Done, error) {
	t.Helper()
	leases, err := lease.New(b.guard, lease.Config{})
	if err != nil {
		t.Fatal(err)
	}

	return leases.Do(t.Context(), "order 1", func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
		_, err := a.Step(ctx, "reserve", func(context.Context) (lease.Result, error) {
			return lease.Result{ContentType: "application/x-receipt", Body: []byte("secret-7")}, nil
		})
		if err == nil {
			err = lease.Unknown(errors.New("no answer <1>"))
		}

		return lease.Result{}, err
	})
}

func (b *bundle) undecided(t testing.TB) {
	t.Helper()
	if _, err := b.pay(t); !errors.As(err, new(*lease.UndecidedError)) {
		t.Fatal(err)
	}
}

func TestLeasePages(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *console.Config) {
		c.Authorize = func(r *http.Request) (console.User, error) {
			return console.User{Payloads: r.Header.Get("X-Payloads") != ""}, nil
		}
	})
	b.get(t, "/leases").want(t, http.StatusOK, "0 leases", "None.")
	b.undecided(t)
	b.get(t, "/leases").want(t, http.StatusOK, "1 lease<", "order 1", "undecided", "no answer &lt;1&gt;", `href="lease?consumer=orders&amp;id=order%201"`)
	b.get(t, "/leases?consumer=orders&state=undecided").want(t, http.StatusOK, "1 lease<")
	b.get(t, "/leases?state=released").want(t, http.StatusOK, "0 leases")
	b.get(t, "/").want(t, http.StatusOK, `data-k="undecided">1<`)
	b.get(t, leased).want(t, http.StatusOK, "waits for somebody to decide", "1, of which 1 may have taken effect", "no answer &lt;1&gt;", "Step reserve", "8 B, hidden", "application/x-receipt").
		lacks(t, "secret-7", "formaction")
	b.get(t, leased, header("X-Payloads", "1")).want(t, http.StatusOK, "secret-7")
	b.get(t, "/event?id=order+1").want(t, http.StatusOK, "Step reserve took effect", `href="lease?consumer=orders&amp;id=order%201"`)
	b.get(t, "/lease?consumer=orders&id=nosuch").want(t, http.StatusNotFound, "has no lease of event nosuch")
	b.get(t, "/leases?consumer=nosuch").want(t, http.StatusNotFound)
	for _, path := range []string{"/leases?state=gone", "/lease?consumer=orders", "/lease?consumer=orders&id=%ff"} {
		b.get(t, path).want(t, http.StatusUnprocessableEntity)
	}
}

func TestLeaseIsDecided(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.undecided(t)
	b.get(t, leased).want(t, http.StatusOK, `formaction="lease-took-effect"`, `formaction="lease-rerun"`)
	form := b.get(t, strings.Replace(leased, "lease", "lease-rerun", 1)).want(t, http.StatusOK, "The next delivery runs it again").form()
	form.Set("reason", "not there <2>")
	rerun := b.post(t, "/lease-rerun", form).want(t, http.StatusSeeOther)
	if got := rerun.header.Get("Location"); got != "lease?consumer=orders&id=order+1" {
		t.Error(got)
	}
	b.get(t, leased).want(t, http.StatusOK, "released", "by olga (", "not there &lt;2&gt;")
	b.post(t, "/lease-rerun", form).want(t, http.StatusConflict, "Somebody has decided about event order 1 since you looked at it")
	b.undecided(t) // Again. Pages that were about the first attempt decide nothing.
	for _, path := range []string{"/lease-rerun", "/lease-took-effect"} {
		b.post(t, path, form).want(t, http.StatusConflict, "another attempt has ended; nothing was changed")
	}

	form = b.get(t, strings.Replace(leased, "lease", "lease-took-effect", 1)).want(t, http.StatusOK, "never runs again", "2 of 2 attempts").form()
	form.Set("reason", "in their list")
	form.Set("result", "{\r\n}")
	form.Set("type", "application/json")
	b.post(t, "/lease-took-effect", form).want(t, http.StatusSeeOther)
	b.get(t, "/event?consumer=orders&id=order+1").want(t, http.StatusOK, "olga (", "decided that the effect had happened: in their list", "3 B of application/json")
	if done, err := b.pay(t); err != nil || done.Outcome != lease.AlreadyProcessed || string(done.Result.Body) != "{\n}" || done.Result.ContentType != "application/json" {
		t.Errorf("%+v, %v", done, err)
	}
	b.post(t, "/lease-took-effect", form).want(t, http.StatusNotFound)
	b.post(t, "/lease-rerun", form).want(t, http.StatusNotFound)
	for _, text := range []string{"run the event of a lease again", "complete the event of a lease", "user=olga", `event_id="order 1"`, "not there <2>", "change made", "change failed"} {
		if !strings.Contains(b.log.String(), text) {
			t.Errorf("%q is missing in the log: %s", text, b.log)
		}
	}
}

// An empty result is one without a content type, as from idemctl.
func TestLeaseIsCompletedWithoutAResult(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.undecided(t)
	form := b.get(t, strings.Replace(leased, "lease", "lease-took-effect", 1)).form()
	form.Set("type", "application/json")
	b.post(t, "/lease-took-effect", form).want(t, http.StatusSeeOther)
	if done, err := b.pay(t); err != nil || done.Outcome != lease.AlreadyProcessed || len(done.Result.Body) != 0 || done.Result.ContentType != "" {
		t.Errorf("%+v, %v", done, err)
	}
}

func TestRunningLeaseIsNotDecided(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.undecided(t)
	b.exec(t, `UPDATE idem.leases SET state = 'running', unknown = 0, token = pg_catalog.gen_random_uuid(), until = pg_catalog.now() OPERATOR(pg_catalog.+) INTERVAL '1 hour'`)
	b.get(t, leased).want(t, http.StatusOK, "An attempt is running").lacks(t, "formaction")
	form := b.get(t, strings.Replace(leased, "lease", "lease-rerun", 1)).form()
	for _, path := range []string{"/lease-rerun", "/lease-took-effect"} {
		b.post(t, path, form).want(t, http.StatusConflict, "An attempt of event order 1 is running; nothing was changed")
	}
	for name, value := range map[string]string{"reason": strings.Repeat("x", 1001), "type": strings.Repeat("x", 256), "until": ""} {
		wrong := maps.Clone(form)
		wrong.Set("result", "x")
		wrong.Set(name, value)
		b.post(t, "/lease-took-effect", wrong).want(t, http.StatusUnprocessableEntity)
	}
}
