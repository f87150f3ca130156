package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// parseSince reads an age or a time, one of which is zero then. Who takes an age decides by which clock it counts.
func parseSince(text string) (age time.Duration, since time.Time, err error) {
	if d, err := parseDuration(text); err == nil {
		return d, time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return 0, t, nil
		}
	}

	return 0, time.Time{}, fmt.Errorf("%s is neither an age (36h, 7d) nor a time (2026-01-31T12:00:00Z, 2026-01-31)", readable.Name(readable.Short(text)))
}

// parseDuration reads a positive duration: Go's form, with days in front (7d, 1d12h).
func parseDuration(text string) (time.Duration, error) {
	wrong := fmt.Errorf("%q is not a duration: write 7d, 36h or 1d12h", text)
	days, rest, found := strings.Cut(text, "d")
	if !found {
		days, rest = "0", text
	}
	whole, err := strconv.ParseUint(days, 10, 32)
	if err != nil {
		return 0, wrong
	}
	var d time.Duration
	if rest != "" || !found {
		if d, err = time.ParseDuration(rest); err != nil {
			return 0, wrong
		}
	}
	switch {
	case d < 0 || d == 0 && whole == 0:
		return 0, fmt.Errorf("%q is not a positive duration", text)
	case whole > math.MaxInt64/uint64(readable.Day)-1 || d > math.MaxInt64-time.Duration(whole)*readable.Day:
		return 0, fmt.Errorf("%q is too long: about 292 years are possible", text)
	}

	return time.Duration(whole)*readable.Day + d, nil
}
