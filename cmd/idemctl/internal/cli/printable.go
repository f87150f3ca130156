package cli

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
)

// printable returns text from the database as a terminal may have it: as it is, or as a Go
// string in quotes where characters could not be seen or could steer the terminal.
func printable(text string) string {
	if text == "" || text[0] == '"' || text != strings.Trim(text, " ") || strings.ContainsFunc(text, unprintable) {
		return strconv.Quote(text)
	}

	return text
}

func unprintable(r rune) bool { return !strconv.IsPrint(r) }

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
		if r == '\n' || r == '\t' || !unprintable(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(replacement(r))
		}
	}

	return b.String()
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_.:/@%+=,][A-Za-z0-9_.:/@%+=,-]*$`)

// shellWord writes an argument as a shell takes it, for commands that are suggested.
func shellWord(word string) string {
	if plainWord.MatchString(word) {
		return word
	}

	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
