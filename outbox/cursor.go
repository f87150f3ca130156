package outbox

import (
	"time"

	"github.com/nova-events/idempotent-consumer/db"
)

// lookBack is after which time a relay looks at the whole table again. That finds what a cursor can miss: a server that
// crashed or was replaced behind a pooler, so that no connection broke, has given numbers of transactions twice.
const lookBack = 10 * time.Second

// cursor is how far a relay has read. It only spares reading what is deleted or was read before: what has to
// be sent is in the table and nothing else is. So it is kept in memory, and forgotten when in doubt.
//
// It goes from one snapshot to the next. What is visible in the second and was not in the first is read in the
// order of the ids, in portions. So a transaction that ends late is neither missed nor waited for, which a cursor of ids
// could not do.
type cursor struct {
	done string // All that is visible in this snapshot has been read.
	low  int64  // Transactions with the numbers that follow done's have higher ids.

	target    string // the snapshot up to which is being read; empty: the next one
	targetLow int64
	after     int64 // the last id that was read on the way to target

	// numbered is the highest id that was given out before a former turn got its number. Later turns see that
	// number completed in their snapshots; so whatever has a number behind such a snapshot got it, and drew its ids, after
	// that turn. (It need not have begun after the snapshot: a transaction that is under way, and has a higher number than all
	// that have ended, stands behind it, too.)
	numbered int64

	server  int64 // when the server of the snapshots started; 0: there are none
	started time.Time
}

// fromTheBeginning has read nothing.
func fromTheBeginning() cursor { return cursor{done: "1:1:", started: time.Now()} }

// again has read nothing, on the same server.
func (c *cursor) again() cursor {
	next := fromTheBeginning()
	next.numbered, next.server = c.numbered, c.server

	return next
}

// aim has the cursor go on to a snapshot, unless it is on the way to one. Snapshots of different servers cannot be compared.
func (c *cursor) aim(snapshot string, server int64) {
	if c.server != 0 && c.server != server {
		*c = fromTheBeginning()
	}
	c.server = server
	if c.target == "" {
		c.target, c.targetLow = snapshot, c.numbered
	}
}

// read notes what was read: nothing, when all that is visible in target has been.
func (c *cursor) read(rows []db.OutboxReadRow) {
	if len(rows) > 0 {
		c.after = rows[len(rows)-1].ID

		return
	}
	c.done, c.low, c.target, c.after = c.target, c.targetLow, "", 0
}

// isAt reports whether all that is visible in a snapshot has been read, and nothing else is to be.
func (c *cursor) isAt(snapshot string, server int64) bool {
	return c.target == "" && c.done == snapshot && c.server == server
}
