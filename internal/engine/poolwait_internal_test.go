package engine

import (
	"testing"
	"time"
)

// A handler that does not return is told once a minute, and the next one begins anew.
func TestSlowHandlerIsToldOnceAMinute(t *testing.T) {
	t.Parallel()
	var b busy
	now := time.Now()
	if running, _ := b.slow(now.Add(time.Hour)); running > 0 {
		t.Error("it is told although none runs")
	}
	b.begin(7)
	for _, step := range []struct {
		after time.Duration
		told  bool
	}{{59 * time.Second, false}, {61 * time.Second, true}, {100 * time.Second, false}, {121 * time.Second, true}} {
		if running, offset := b.slow(now.Add(step.after)); running > 0 != step.told || step.told && offset != 7 {
			t.Errorf("after %v: %v at offset %d", step.after, running, offset)
		}
	}
	b.begin(8)
	if running, _ := b.slow(now.Add(time.Minute / 2)); running > 0 {
		t.Errorf("the next one runs for %v", running)
	}
}
