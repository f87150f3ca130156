package ops

import (
	"context"
	"time"

	"github.com/nova-events/idempotent-consumer/db"
)

// DeadLetterGroup is the dead letters whose errors have one shape.
type DeadLetterGroup struct {
	ErrorShape  string     `json:"error_shape"` // see DeadLetterFilter
	DeadLetters int64      `json:"dead_letters"`
	Open        int64      `json:"open"`         // of them
	FirstFailed *time.Time `json:"first_failed"` // nil if somebody has set it to what is no time
	LastFailed  *time.Time `json:"last_failed"`  // as above
}

// DeadLetterGroups counts the dead letters that pass a filter: in all, and for each shape of their errors, the most
// first. The filter's Limit is how many groups to return at most; the total counts the others too. All dead letters
// that pass the filter are read.
func (c *Client) DeadLetterGroups(ctx context.Context, f DeadLetterFilter) (groups []DeadLetterGroup, total int64, err error) {
	if err := f.Validate(); err != nil {
		return nil, 0, err
	}
	if f.States == nil {
		f.States = AllStates()
	}
	p, err := c.paramsOf(ctx, f)
	if err != nil {
		return nil, 0, err
	}
	rows, err := c.queries.DeadLetterGroups(ctx, c.conn, db.DeadLetterGroupsParams{
		States: p.States, ConsumerID: p.ConsumerID, Topic: p.Topic, EventID: p.EventID, ErrorPart: p.ErrorPart, ErrorShape: p.ErrorShape,
		Since: p.Since, Until: p.Until, MaxAgeSeconds: p.MaxAgeSeconds, MaxRows: p.MaxRows,
	})
	if err != nil {
		return nil, 0, c.failed(ctx, "count the dead letters", err)
	}
	groups = make([]DeadLetterGroup, len(rows))
	for i, row := range rows {
		total = row.Total
		groups[i] = DeadLetterGroup{
			ErrorShape: row.ErrorShape, DeadLetters: row.DeadLetters, Open: row.Open,
			FirstFailed: unless(noTime, row.FirstMicros), LastFailed: unless(noTime, row.LastMicros),
		}
	}

	return groups, total, nil
}

// DeadLetterCount says how many unresolved dead letters a consumer has.
type DeadLetterCount struct {
	Consumer   string `json:"consumer"`
	Open       int64  `json:"open"`       // wait for somebody to decide
	Unresolved int64  `json:"unresolved"` // those, and what follows by itself
}

// DeadLetterCounts counts the unresolved dead letters of each consumer that has any, by consumer. Status tells them,
// too, but reads much more.
func (c *Client) DeadLetterCounts(ctx context.Context) ([]DeadLetterCount, error) {
	rows, err := c.queries.DeadLetterCounts(ctx, c.conn)
	if err != nil {
		return nil, c.failed(ctx, "count the dead letters", err)
	}
	counts := make([]DeadLetterCount, len(rows))
	for i, row := range rows {
		counts[i] = DeadLetterCount{Consumer: row.Consumer, Open: row.Open, Unresolved: row.Unresolved}
	}

	return counts, nil
}
