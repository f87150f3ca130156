package readable

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/nova-events/idempotent-consumer/schema"
)

// Name returns text from the database as a terminal may have it: as it is, or as a Go string in
// quotes where characters could not be seen or could steer the terminal.
func Name(text string) string {
	if text == "" || text[0] == '"' || text != strings.Trim(text, " ") || strings.ContainsFunc(text, Unprintable) {
		return strconv.Quote(text)
	}

	return text
}

// Unprintable reports whether a character cannot be seen, or could steer a terminal.
func Unprintable(r rune) bool { return !strconv.IsPrint(r) }

// Short cuts what is too long for a message.
func Short(text string) string {
	const limit = 80
	if len(text) <= limit {
		return text
	}

	return strings.ToValidUTF8(text[:limit], "") + "…"
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_.:/@%+=,][A-Za-z0-9_.:/@%+=,-]*$`)

// ShellWord writes an argument as a shell takes it, for commands that are suggested.
func ShellWord(word string) string {
	if plainWord.MatchString(word) {
		return word
	}

	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// SchemaFlag is what a suggested command needs behind it to be about the same schema.
func SchemaFlag(name string) string {
	if name == schema.DefaultName {
		return ""
	}

	return " --schema " + name
}
