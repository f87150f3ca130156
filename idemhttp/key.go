package idemhttp

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	// KeyHeader has the key of a request: a string of a structured field (RFC 8941), "…", or the same without quotes.
	KeyHeader = "Idempotency-Key"

	// ReplayedHeader is "true" in a response that was stored.
	ReplayedHeader = "Idempotency-Replayed"

	// MaxKeyBytes is how long a key may be, without its quotes.
	MaxKeyBytes = 255
)

var errNoKey = errors.New("there is no key")

// parseKey returns the key that a request's headers have.
func parseKey(values []string) (string, error) {
	switch len(values) {
	case 0:
		return "", errNoKey
	case 1:
	default:
		return "", fmt.Errorf("there are %d %s headers", len(values), KeyHeader)
	}
	value := strings.Trim(values[0], " ")
	key := value
	if quoted, isQuoted := strings.CutPrefix(value, `"`); isQuoted {
		var err error
		if key, err = unquote(quoted); err != nil {
			return "", err
		}
	} else if i := strings.IndexFunc(value, func(c rune) bool { return c <= ' ' || strings.ContainsRune(`",;\`, c) }); i >= 0 {
		return "", fmt.Errorf("without quotes it cannot have %q", value[i])
	}

	return key, checkKey(key)
}

// unquote returns the string that ends with the last of its bytes.
func unquote(s string) (string, error) {
	var key strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"' && i == len(s)-1:
			return key.String(), nil
		case s[i] == '"':
			return "", errors.New("something follows its closing quote")
		case s[i] == '\\':
			if i++; i == len(s) || s[i] != '"' && s[i] != '\\' {
				return "", errors.New("a backslash stands before neither a quote nor a backslash")
			}
		}
		key.WriteByte(s[i])
	}

	return "", errors.New("its closing quote is missing")
}

// quote is the reverse of unquote.
func quote(key string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
}

func checkKey(key string) error {
	if key == "" || len(key) > MaxKeyBytes {
		return fmt.Errorf("it has %d bytes; 1 to %d are allowed", len(key), MaxKeyBytes)
	}
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return fmt.Errorf("it has the byte %#02x; ASCII that can be printed is allowed", key[i])
		}
	}

	return nil
}

// EventID is the event id of the requests with a key of a scope, by which "idemctl lease" finds them: 64 hexadecimal
// digits, because both are of any length and a provider that gets it (lease.Attempt.Key) has no use for them.
func EventID(scope, key string) string {
	var b []byte
	b = appendPart(b, scope)
	b = appendPart(b, key)
	hash := sha256.Sum256(b)

	return hex.EncodeToString(hash[:])
}

// appendPart appends a part with its length, so that no two lists of parts are the same bytes.
func appendPart[S ~string | ~[]byte](b []byte, part S) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(len(part))), part...)
}
