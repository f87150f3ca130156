package cli

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// escapeLines makes a message safe for a terminal, whose lines may be of our own making.
func escapeLines(message string) string {
	return escape(message, func(r rune) string {
		quoted := strconv.QuoteRune(r)

		return quoted[1 : len(quoted)-1]
	})
}

// escapeJSON writes the characters of JSON that could steer a terminal as \uXXXX. Those can
// only be in strings, so the document stays the same.
func escapeJSON(text string) string {
	return escape(text, func(r rune) string {
		if high, low := utf16.EncodeRune(r); high != '\uFFFD' {
			return fmt.Sprintf(`\u%04x\u%04x`, high, low)
		}

		return fmt.Sprintf(`\u%04x`, r)
	})
}

// escape replaces what is not printable, other than ends of lines and tabs.
func escape(text string, replacement func(rune) string) string {
	var b strings.Builder
	for _, r := range text {
		if r == '\n' || r == '\t' || !readable.Unprintable(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(replacement(r))
		}
	}

	return b.String()
}
