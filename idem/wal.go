package idem

import (
	"context"
	"fmt"

	"github.com/nova-events/idempotent-consumer/db"
)

// WALPosition is the end of a server's write-ahead log. With it a consumer that keeps no checkpoints can
// suspect that the database has lost commits; only checkpoints can tell for certain.
type WALPosition struct {
	Timeline int64 // counted up by each promotion of a standby
	LSN      int64 // bytes written
}

func (p WALPosition) String() string { return fmt.Sprintf("%d/%d", p.Timeline, p.LSN) }

// ParseWALPosition parses what String has returned.
func ParseWALPosition(text string) (p WALPosition, ok bool) {
	n, err := fmt.Sscanf(text, "%d/%d", &p.Timeline, &p.LSN)

	return p, err == nil && n == 2
}

// MayHaveLost reports whether a server that is at p may have lost what was committed when it was at
// earlier: its log has become shorter, or it is a standby that was promoted since.
func (p WALPosition) MayHaveLost(earlier WALPosition) bool {
	return p.Timeline != earlier.Timeline || p.LSN < earlier.LSN
}

// WALPosition asks the server for its position. Some services that speak PostgreSQL's protocol do
// not report it.
func (g *Guard) WALPosition(ctx context.Context) (WALPosition, error) {
	var row db.WALPositionRow
	err := g.onPool(ctx, func(conn db.DBTX) error {
		var err error
		row, err = g.queries.WALPosition(ctx, conn)

		return err
	})

	return WALPosition{Timeline: row.Timeline, LSN: row.Lsn}, err
}
