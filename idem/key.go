package idem

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
)

// MaxEventIDBytes is the longest event id. What is longer is content rather than a name for
// it: use its hash.
const MaxEventIDBytes = 4096

// Key returns the key under which the table processed_events holds an event id; the SQL function
// event_key computes the same. A lower-case UUID in canonical form is its own key. Everything else,
// UUIDs of version 8 included, becomes a version 8 UUID (RFC 9562, 5.8) made of the first 16 bytes
// of SHA-256(id), so that nobody can choose an event id that has the key of another one.
func Key(eventID string) uuid.UUID {
	if isOwnKey(eventID) {
		return uuid.MustParse(eventID)
	}
	hash := sha256.Sum256([]byte(eventID))
	key := uuid.UUID(hash[:16])
	key[6] = key[6]&0x0f | 0x80
	key[8] = key[8]&0x3f | 0x80

	return key
}

// nilUUID would be the key of no event.
const nilUUID = "00000000-0000-0000-0000-000000000000"

// isOwnKey reports whether id is a canonical lower-case UUID of any version but 8, and not nil.
func isOwnKey(id string) bool {
	if len(id) != 36 || id[14] == '8' || id == nilUUID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}

	return true
}

// CheckEventID returns an error that wraps ErrInvalidEventID, with the reason, if no event can have the id. The calls
// that take an event id do the same.
func CheckEventID(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidEventID)
	case len(id) > MaxEventIDBytes:
		return fmt.Errorf("%w: it has %d bytes, %d are allowed; use a hash of it", ErrInvalidEventID, len(id), MaxEventIDBytes)
	case !utf8.ValidString(id):
		return fmt.Errorf("%w: it is not UTF-8; encode it, as hex for instance", ErrInvalidEventID)
	case strings.ContainsRune(id, 0):
		return fmt.Errorf("%w: it contains a NUL byte, which PostgreSQL's text cannot hold", ErrInvalidEventID)
	default:
		return nil
	}
}

// storedEventID returns the value of the column event_id: empty if the key is the id itself.
func storedEventID(id string) string {
	if isOwnKey(id) {
		return ""
	}

	return id
}
