// Package await has tests wait for what is to happen. Only tests import it.
package await

import (
	"os"
	"testing"
	"time"
)

// Patience is how long to wait for what must happen. It is no measure of speed. internal/mutate makes it shorter, because with a mechanism
// switched off things often do not happen.
var Patience = func() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("IDEM_TEST_PATIENCE")); err == nil {
		return d
	}

	return time.Minute
}()

// Until polls until happened returns true. It fails the test if that takes too long.
func Until(t testing.TB, what string, happened func() bool) {
	t.Helper()
	deadline := time.After(Patience)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !happened() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
