package readable

import (
	"fmt"
	"strings"
	"time"
)

// Day is 24 hours.
const Day = 24 * time.Hour

// Duration writes a retention with days: 7d, 1d12h, 90s.
func Duration(d time.Duration) string {
	if d < 0 {
		return "-" + Duration(-d)
	}
	var b strings.Builder
	if days := d / Day; days > 0 {
		fmt.Fprintf(&b, "%dd", days)
		d %= Day
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

// Ago writes how long before now something was, in its largest one or two units.
func Ago(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case d < 0:
		return "in " + Rough(-d)
	default:
		return Rough(d) + " ago"
	}
}

// Rough writes a duration in its largest one or two units.
func Rough(d time.Duration) string {
	switch {
	case d >= 10*Day:
		d = d.Truncate(Day)
	case d >= Day:
		d = d.Truncate(time.Hour)
	case d >= time.Hour:
		d = d.Truncate(time.Minute)
	default:
		d = d.Truncate(time.Second)
	}

	return Duration(d)
}

// Timestamp writes a time to the second, in UTC.
func Timestamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
