package console

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// payload is bytes of a record as a page shows them.
type payload struct {
	Size   int64
	None   bool   // the record has none
	Hidden bool   // the user may not see them
	Kind   string // what they look like: JSON, text, bytes
	Text   string
	Cut    bool // there are more than are shown
}

func newPayload(b []byte, may bool) payload {
	p := payload{Size: int64(len(b)), None: b == nil, Hidden: !may && len(b) > 0}
	if p.None || p.Hidden {
		return p
	}
	if pretty := new(bytes.Buffer); len(b) <= maxShown && depth(b) <= maxDepth && json.Indent(pretty, b, "", "  ") == nil {
		p.Kind, b = "JSON", pretty.Bytes()
	}
	if len(b) > maxShown {
		b, p.Cut = b[:maxShown], true
		for i := range min(utf8.UTFMax, len(b)) { // A character may be cut in two.
			if utf8.Valid(b[:len(b)-i]) {
				b = b[:len(b)-i]

				break
			}
		}
	}
	switch {
	case !utf8.Valid(b):
		p.Kind, p.Text = "bytes", hex.Dump(b[:min(len(b), maxShown/4)])
		p.Cut = p.Cut || len(b) > maxShown/4
	default:
		p.Text = visible(string(b))
		if p.Kind == "" {
			p.Kind = "text"
		}
	}

	return p
}

// maxDepth is how deep JSON is that is indented. The room that it takes grows with the square of it.
const maxDepth = 64

// depth is how many brackets are open at once, as far as a text is JSON.
func depth(text []byte) (most int) {
	open, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			open++
			most = max(most, open)
		case c == ']' || c == '}':
			open--
		}
	}

	return most
}

// visible writes characters that cannot be seen, or that turn the direction of the text around, as their numbers.
func visible(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return readable.Unprintable(r) && r != '\n' && r != '\t' }) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if readable.Unprintable(r) && r != '\n' && r != '\t' {
			b.WriteString(strings.Trim(readable.Name(string(r)), `"`))
		} else {
			b.WriteRune(r)
		}
	}

	return b.String()
}
