package ops

import (
	"context"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/readable"
)

const (
	// leastTyped is how many digits of an id people have to type, leastShown how many a list shows.
	leastTyped = 4
	leastShown = 8

	idDigits = 32
)

// idPrefix is the beginning of the id of a dead letter, as somebody typed it, in digits without dashes.
type idPrefix string

func parseIDs(texts []string) ([]idPrefix, error) {
	prefixes := make([]idPrefix, len(texts))
	for i, text := range texts {
		digits := strings.ToLower(strings.ReplaceAll(text, "-", ""))
		_, err := hex.DecodeString(digits + strings.Repeat("0", len(digits)%2))
		if err != nil || len(digits) < leastTyped || len(digits) > idDigits {
			return nil, invalid("%s is not the id of a dead letter, nor at least %d digits that it begins with: \"idemctl deadletter list\" prints them",
				readable.Name(readable.Short(text)), leastTyped)
		}
		prefixes[i] = idPrefix(digits)
	}

	return prefixes, nil
}

// padded is the id that begins with the prefix and goes on with one digit.
func (p idPrefix) padded(digit string) string {
	return string(p) + strings.Repeat(digit, idDigits-len(p))
}

// find returns the dead letter whose id begins so, or nil. The error says that there are several.
func (c *Client) find(ctx context.Context, prefix idPrefix) (*db.DeadLetterBetweenRow, error) {
	rows, err := c.queries.DeadLetterBetween(ctx, c.conn, db.DeadLetterBetweenParams{Least: prefix.padded("0"), Greatest: prefix.padded("f")})
	switch {
	case err != nil:
		return nil, c.failed(ctx, "look for the dead letter", err)
	case len(rows) == 0:
		return nil, nil //nolint:nilnil // There is none.
	case len(rows) > 1:
		return nil, invalid("%s is the beginning of several ids, of %s and %s for instance; type more of the one that is meant",
			prefix, rows[0].ID, rows[1].ID)
	}

	return &rows[0], nil
}

// findAll returns the ids that begin so, each once, and the beginnings of none.
func (c *Client) findAll(ctx context.Context, prefixes []idPrefix) (ids, unknown []string, err error) {
	unknown = []string{}
	for _, prefix := range prefixes {
		found, err := c.find(ctx, prefix)
		switch {
		case err != nil:
			return nil, nil, err
		case found == nil && !slices.Contains(unknown, string(prefix)):
			unknown = append(unknown, string(prefix))
		case found != nil && !slices.Contains(ids, found.ID.String()):
			ids = append(ids, found.ID.String())
		}
	}

	return ids, unknown, nil
}

// shortenIDs sets the beginnings that tell the ids of a list, and those that they wait for, from all others.
func (c *Client) shortenIDs(ctx context.Context, list []DeadLetter) error {
	ids := idsOf(list)
	for _, letter := range list {
		if letter.Awaits != nil {
			ids = append(ids, letter.Awaits.ID.String())
		}
	}
	rows, err := c.queries.DeadLetterNeighbours(ctx, c.conn, ids)
	if err != nil {
		return c.failed(ctx, "shorten the ids of the dead letters", err)
	}
	short := make(map[uuid.UUID]string, len(rows))
	for _, row := range rows {
		short[row.ID] = beginning(row.ID.String(), row.Before.String(), row.After.String())
	}
	for i := range list {
		list[i].ShortID = short[list[i].ID]
		if awaits := list[i].Awaits; awaits != nil {
			awaits.ShortID = short[awaits.ID]
		}
	}

	return nil
}

// beginning returns as much of an id as tells it from those before and after it.
func beginning(id, before, after string) string {
	digits := leastShown
	for _, other := range []string{before, after} {
		same := 0
		for same < len(id) && id[same] == other[same] {
			same++
		}
		if same < len(id) {
			digits = max(digits, same+1)
		}
	}

	return id[:digits]
}
