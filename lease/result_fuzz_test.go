package lease_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/lease"
)

// FuzzResult has a duplicate get the result that the effect returned, to the byte, and so a step, or the lease refuse it.
func FuzzResult(f *testing.F) {
	f.Add("e", "charge", "text/plain", []byte("charged"))
	f.Add("\x00", "", "\x00", []byte(nil))
	f.Add(`'; --`, "a\xff", "é\xff", []byte{})
	f.Add("e", strings.Repeat("s", 1000), strings.Repeat("é", 128), []byte("\x00\xff"))
	pool := pgtest.NewDB(f).Pool(f)
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		f.Fatal(err)
	}
	leases, err := lease.New(guard, lease.Config{Backoff: lease.NoBackoff, Unknown: lease.Rerun(), Logger: quiet})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, eventID, step, contentType string, body []byte) {
		result := lease.Result{ContentType: contentType, Body: body}
		equal := func(got lease.Result) bool { return got.ContentType == contentType && bytes.Equal(got.Body, body) }
		var stepErr error
		done, err := leases.Do(t.Context(), eventID, func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
			var got lease.Result
			if got, stepErr = a.Step(ctx, step, func(context.Context) (lease.Result, error) { return result, nil }); stepErr == nil && !equal(got) {
				t.Errorf("step %q: %+v, want %+v", step, got, result)
			}

			return result, nil
		})
		if idem.CheckEventID(eventID) != nil {
			if !errors.Is(err, idem.ErrInvalidEventID) {
				t.Fatalf("%q: %v", eventID, err)
			}

			return
		}
		valid := len(contentType) <= 255 && utf8.ValidString(contentType) && !strings.ContainsRune(contentType, 0)
		if (err == nil) != valid || valid && (done.Outcome != lease.Processed || !equal(done.Result)) {
			t.Fatalf("%q: %+v, %v", contentType, done, err)
		}
		if !valid {
			if stepErr == nil {
				t.Errorf("step %q stored %q", step, contentType)
			}
		} else if done, err = leases.Do(t.Context(), eventID, mustNotRun(t)); err != nil || done.Outcome != lease.AlreadyProcessed || !equal(done.Result) {
			t.Errorf("again: %+v, %v", done, err)
		}
		for _, table := range []string{"processed_events", "results", "leases"} { // The next one may have its id.
			if _, err := pool.Exec(t.Context(), "DELETE FROM idem."+table); err != nil {
				t.Fatal(err)
			}
		}
	})
}
