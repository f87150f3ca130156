// Package tables gives the packages that keep tables beside the guard's what they need of a Guard: its connections,
// its schema and its retries.
package tables

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/db"
)

// Of returns those of an *idem.Guard. Package idem sets it, and cannot be named here because it imports this one.
var Of func(guard any) Tables

// Tables are a schema with the guard's tables, for one consumer.
type Tables struct {
	Consumer int64 // its id in all tables

	// On directs the generated SQL at the schema.
	On func(conn db.DBTX) db.DBTX

	// NotWithin refuses an event whose handler's context ctx is: its claim is in the handler's transaction.
	NotWithin func(ctx context.Context, eventID string) error

	// Do uses a connection of the pool once the consumer is registered, and again after transient errors, by
	// the guard's policy.
	Do func(ctx context.Context, use func(conn *pgxpool.Conn) error) error
}

// maxTextBytes is how much of a text is stored.
const maxTextBytes = 16 << 10

// IsText reports whether PostgreSQL takes s for text: UTF-8 without NUL bytes.
func IsText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// CleanText makes of s what PostgreSQL takes for text, and cuts it.
func CleanText(s string) string {
	if len(s) > maxTextBytes {
		s = s[:maxTextBytes] + "…"
	}

	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
