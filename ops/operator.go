package ops

import (
	"cmp"
	"context"
	"os"
	"strings"
	"unicode/utf8"
)

// checkWords refuses what PostgreSQL cannot store of who did something and why.
func checkWords(words ...string) error {
	for _, text := range words {
		if len(text) > 1000 || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return invalid("who it is and why must be text of at most 1000 bytes each")
		}
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
