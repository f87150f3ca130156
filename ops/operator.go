package ops

import (
	"cmp"
	"context"
	"os"

	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// longestWords is how much is stored of who did something, and of why, in bytes.
const longestWords = 1000

// checkWords refuses what cannot be stored of who did something and why.
func checkWords(by, reason string) error {
	for _, given := range []struct{ what, text string }{{"the name of who does it (--by)", by}, {"the reason (--reason)", reason}} {
		if len(given.text) > longestWords {
			return invalid("%s has %d bytes; %d are possible", given.what, len(given.text), longestWords)
		}
		if err := checkText(given.what, given.text); err != nil {
			return err
		}
	}

	return nil
}

// checkText refuses what PostgreSQL has no text for.
func checkText(what, text string) error {
	if !tables.IsText(text) {
		return invalid("%s is not UTF-8 without NUL bytes", what)
	}

	return nil
}

// operator says for people who works with the client, as "alice (ops@host-1)": the name that was given, if one was,
// and what is known, the database's role and this host.
func (c *Client) operator(ctx context.Context, by string) (string, error) {
	role, err := c.queries.SessionRole(ctx, c.conn)
	if err != nil {
		return "", c.failed(ctx, "ask for the role", err)
	}
	host, _ := os.Hostname() // It is for people.
	known := role + "@" + cmp.Or(host, "an unknown host")
	if by == "" {
		return known, nil
	}

	return by + " (" + known + ")", nil
}
