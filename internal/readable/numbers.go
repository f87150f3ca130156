package readable

import "strconv"

// Number writes 1234567 as 1,234,567.
func Number[N int | int64](n N) string {
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

// Plural writes a number of things: 1 event, 2 events.
func Plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}

	return Number(n) + " " + noun + "s"
}

// Events writes a number of events.
func Events(n int64) string { return Plural(n, "event") }

// Size writes a number of bytes in powers of 1024.
func Size(n int64) string {
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
