package onceper

import (
	"sync"
	"time"
)

// Trouble is something that fails and is tried again. It is told at first, then at intervals while it lasts, and
// once more when it has passed. What fails every now and then is told no more often. The zero value is for what has
// not failed yet.
type Trouble struct {
	mu    sync.Mutex
	since time.Time // when it began; zero: there is none
	told  time.Time // when it was last told, be it of an earlier time
	known bool      // it was told since it began
}

// Lasts notes a failure. It reports how long it has failed, and whether that is to be told.
func (t *Trouble) Lasts(every time.Duration) (since time.Duration, due bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if t.since.IsZero() {
		t.since = now
	}
	if due = t.told.IsZero() || now.Sub(t.told) >= every; due {
		t.told, t.known = now, true
	}

	return now.Sub(t.since), due
}

// Passed notes a success. It reports how long it had failed before, and whether that was told.
func (t *Trouble) Passed() (lasted time.Duration, told bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() {
		return 0, false
	}
	lasted, told = time.Since(t.since), t.known
	t.since, t.known = time.Time{}, false

	return lasted, told
}
