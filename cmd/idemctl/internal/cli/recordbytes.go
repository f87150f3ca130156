package cli

import (
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// bytesOnLine writes a record's key, or a part of a header, on one line. Its producer chooses
// what it is; only UTF-8 is taken for text.
func bytesOnLine(b []byte) string {
	switch {
	case b == nil:
		return "(null)"
	case utf8.Valid(b):
		return readable.Name(string(b))
	default:
		return fmt.Sprintf("(%s, not UTF-8) %s", byteCount(b), hex.EncodeToString(b))
	}
}

// bytesOnLines writes a record's value: what it is on the first line, then the text as it is,
// but for characters that could steer a terminal, or the bytes as hexadecimal numbers.
func bytesOnLines(b []byte) string {
	switch {
	case b == nil:
		return "(null)"
	case !utf8.Valid(b):
		return "(" + byteCount(b) + ", not UTF-8)\n" + strings.TrimSuffix(hex.Dump(b), "\n")
	case escapeLines(string(b)) != string(b):
		return "(" + byteCount(b) + ", control characters escaped)\n" + escapeLines(string(b))
	default:
		return "(" + byteCount(b) + ")\n" + string(b)
	}
}

func byteCount(b []byte) string { return readable.Plural(int64(len(b)), "byte") }
