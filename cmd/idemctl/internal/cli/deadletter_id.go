package cli

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/db"
)

const (
	// leastTyped is how many digits of an id people have to type, leastShown how many a list shows.
	leastTyped = 4
	leastShown = 8

	idDigits = 32
)

// idPrefix is the beginning of the id of a dead letter, as somebody typed it, in digits without dashes.
type idPrefix string

func parseDeadLetterID(text string) (idPrefix, error) {
	digits := strings.ToLower(strings.ReplaceAll(text, "-", ""))
	_, err := hex.DecodeString(digits + strings.Repeat("0", len(digits)%2))
	if err != nil || len(digits) < leastTyped || len(digits) > idDigits {
		return "", fail(exitUsage, "%s is not the id of a dead letter, nor at least %d digits that it begins with: \"idemctl deadletter list\" prints them",
			printable(shorten(text)), leastTyped)
	}

	return idPrefix(digits), nil
}

// padded is the id that begins with the prefix and goes on with one digit.
func (p idPrefix) padded(digit string) string {
	return string(p) + strings.Repeat(digit, idDigits-len(p))
}

// find returns the dead letter whose id begins so, or nil. The error says that there are several.
func (s *store) find(ctx context.Context, prefix idPrefix) (*db.DeadLetterBetweenRow, error) {
	rows, err := s.queries.DeadLetterBetween(ctx, s.conn, db.DeadLetterBetweenParams{Least: prefix.padded("0"), Greatest: prefix.padded("f")})
	switch {
	case err != nil:
		return nil, fmt.Errorf("look for the dead letter: %w", err)
	case len(rows) == 0:
		return nil, nil //nolint:nilnil // There is none.
	case len(rows) > 1:
		return nil, fail(exitUsage, "%s is the beginning of several ids, of %s and %s for instance; type more of the one that is meant",
			prefix, rows[0].ID, rows[1].ID)
	}

	return &rows[0], nil
}

// findAll returns the ids that begin so, each once, and the beginnings of none.
func (s *store) findAll(ctx context.Context, prefixes []idPrefix) (ids []uuid.UUID, unknown []string, err error) {
	for _, prefix := range prefixes {
		found, err := s.find(ctx, prefix)
		switch {
		case err != nil:
			return nil, nil, err
		case found == nil && !slices.Contains(unknown, string(prefix)):
			unknown = append(unknown, string(prefix))
		case found != nil && !slices.Contains(ids, found.ID):
			ids = append(ids, found.ID)
		}
	}

	return ids, unknown, nil
}

// shortenIDs sets the beginnings that tell the ids of a list from all others.
func (s *store) shortenIDs(ctx context.Context, list deadLetterList) error {
	rows, err := s.queries.DeadLetterNeighbours(ctx, s.conn, texts(list.ids()))
	if err != nil {
		return fmt.Errorf("shorten the ids of the dead letters: %w", err)
	}
	short := make(map[uuid.UUID]string, len(rows))
	for _, row := range rows {
		short[row.ID] = beginning(row.ID.String(), row.Before.String(), row.After.String())
	}
	for i := range list {
		list[i].short = short[list[i].ID]
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

func texts(ids []uuid.UUID) []string {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = id.String()
	}

	return all
}

func orDash(id uuid.NullUUID) string {
	if !id.Valid {
		return "-"
	}

	return id.UUID.String()
}

func (l deadLetterList) ids() []uuid.UUID {
	ids := make([]uuid.UUID, len(l))
	for i, letter := range l {
		ids[i] = letter.ID
	}

	return ids
}

// byConsumer splits a list into those of each consumer, in their order.
func (l deadLetterList) byConsumer() []deadLetterList {
	var lists []deadLetterList
	place := map[int64]int{}
	for _, letter := range l {
		i, ok := place[letter.consumerID]
		if !ok {
			i = len(lists)
			place[letter.consumerID], lists = i, append(lists, nil)
		}
		lists[i] = append(lists[i], letter)
	}

	return lists
}
