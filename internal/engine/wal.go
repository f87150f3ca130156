package engine

import (
	"context"
	"strings"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/offsetmark"
)

// walMark comes before the position of PostgreSQL's log in the metadata of an offset that was
// committed without a checkpoint.
const walMark = offsetmark.Mark + " wal="

// walTimeout bounds the query for the end of PostgreSQL's log. Offsets are also committed without the
// answer.
const walTimeout = time.Second

// WALPosition returns the end of PostgreSQL's log, for Place.Metadata. It returns "" if the server does
// not answer, or if the mode has checkpoints, which make it unnecessary.
func (e *Engine) WALPosition(ctx context.Context) string {
	if e.config.Mode != consume.ByEventID {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, walTimeout)
	defer cancel()
	p, err := e.guard.WALPosition(ctx)
	if err != nil {
		return ""
	}

	return p.String()
}

// suspectLoss warns, once in a generation, if the database may have lost commits since the group's
// offset was committed. Without a checkpoint nobody can tell.
func (w *worker) suspectLoss(ctx context.Context, group Committed) {
	text, ok := strings.CutPrefix(group.Metadata, walMark)
	if !ok {
		return
	}
	earlier, ok := idem.ParseWALPosition(text)
	now, known := idem.ParseWALPosition(w.engine.WALPosition(ctx))
	if ok && known && now.MayHaveLost(earlier) && w.engine.suspected.Due(time.Hour) {
		w.log.WarnContext(ctx, "consume: PostgreSQL was promoted or has lost a part of its log since the group's offset was committed: "+
			"what was processed last may be lost, and Mode consume.ByEventID does not read it again; to do so set the group's offset back, by as much as may be lost",
			"group", group.Offset, "wal_then", earlier, "wal_now", now)
	}
}
