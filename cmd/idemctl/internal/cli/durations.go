package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/readable"
)

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
