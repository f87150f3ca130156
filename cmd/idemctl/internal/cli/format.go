package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

const day = 24 * time.Hour

// number writes 1234567 as 1,234,567.
func number[N int | int64](n N) string {
	digits := strconv.FormatInt(int64(n), 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}

	return sign + digits
}

// events writes a number of events.
func events(n int64) string { return plural(n, "event") }

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}

	return number(n) + " " + noun + "s"
}

// size writes a number of bytes in powers of 1024.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	if unit == 0 {
		return strconv.FormatInt(n, 10) + " B"
	}

	return strconv.FormatFloat(value, 'f', 1, 64) + " " + units[unit]
}

// duration writes a retention with days, as parseDuration reads it: 7d, 1d12h, 90s.
func duration(d time.Duration) string {
	if d < 0 {
		return "-" + duration(-d)
	}
	var b strings.Builder
	if days := d / day; days > 0 {
		fmt.Fprintf(&b, "%dd", days)
		d %= day
	}
	if d == 0 && b.Len() > 0 {
		return b.String()
	}
	rest := d.String()
	if strings.HasSuffix(rest, "m0s") {
		rest = strings.TrimSuffix(rest, "0s")
	}
	if strings.HasSuffix(rest, "h0m") {
		rest = strings.TrimSuffix(rest, "0m")
	}

	return b.String() + rest
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
	case whole > math.MaxInt64/uint64(day)-1 || d > math.MaxInt64-time.Duration(whole)*day:
		return 0, fmt.Errorf("%q is too long: about 292 years are possible", text)
	}

	return time.Duration(whole)*day + d, nil
}

// ago writes how long before now something was, in its largest one or two units.
func ago(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case d < 0:
		return "in " + rough(-d)
	default:
		return rough(d) + " ago"
	}
}

func rough(d time.Duration) string {
	switch {
	case d >= 10*day:
		d = d.Truncate(day)
	case d >= day:
		d = d.Truncate(time.Hour)
	case d >= time.Hour:
		d = d.Truncate(time.Minute)
	default:
		d = d.Truncate(time.Second)
	}

	return duration(d)
}

// timestamp writes a time for people.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// version is the newest migration of those that the database has.
func version(all []migrate.Migration) int64 {
	var newest int64
	for _, m := range all {
		if !m.AppliedAt.IsZero() {
			newest = max(newest, m.Version)
		}
	}

	return newest
}

func count[T any](all []T, is func(T) bool) (n int) {
	for _, one := range all {
		if is(one) {
			n++
		}
	}

	return n
}
