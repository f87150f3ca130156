package group

import (
	"log/slog"
	"sync"
	"time"
)

// tellInterval is how often something that lasts is logged.
const tellInterval = time.Minute

// teller logs what the member waits for: at once if it is new, then once a minute, and when it is
// over.
type teller struct {
	log func(level slog.Level, message string, args ...any)

	mu   sync.Mutex
	told map[string]time.Time // when, by what
	open map[string]time.Time // since when each wait has lasted, logged or not
}

func newTeller(log func(slog.Level, string, ...any)) *teller {
	return &teller{log: log, told: make(map[string]time.Time), open: make(map[string]time.Time)}
}

// waits logs that doing waits, and why.
func (t *teller) waits(doing, what string, err error) {
	now := time.Now()
	t.mu.Lock()
	if _, ok := t.open[doing]; !ok {
		t.open[doing] = now
	}
	last, ok := t.told[doing+what]
	due := !ok || now.Sub(last) >= tellInterval
	if due {
		t.told[doing+what] = now
	}
	since := t.open[doing]
	t.mu.Unlock()
	if due {
		t.log(slog.LevelWarn, "consumer group: "+doing+" waits: "+what, "for", now.Sub(since).Round(time.Millisecond), "error", err)
	}
}

// goesOn logs that doing does not wait any more, if it waited long enough to be worth a line.
func (t *teller) goesOn(doing string) {
	t.mu.Lock()
	since, ok := t.open[doing]
	delete(t.open, doing)
	t.mu.Unlock()
	if took := time.Since(since); ok && took >= time.Second {
		t.log(slog.LevelInfo, "consumer group: "+doing+" goes on", "after", took.Round(time.Millisecond))
	}
}
