package kafkaadapter

import (
	"context"
	"strings"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
)

// walMetadata comes before the position of PostgreSQL's log in the metadata of an offset that was
// committed without a checkpoint.
const walMetadata = offsetMetadata + " wal="

// walTimeout bounds the question where PostgreSQL's log ends. Offsets are committed without the answer, too.
const walTimeout = time.Second

// readWAL returns where PostgreSQL's log ends, or "" if that is not to be had.
func (c *Consumer) readWAL(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, walTimeout)
	defer cancel()
	p, err := c.guard.WALPosition(ctx)
	if err != nil {
		return ""
	}

	return p.String()
}

// suspectLoss warns, once in a generation, if the database may have lost commits since the group's
// offset was committed. Without a checkpoint nobody can tell.
func (w *worker) suspectLoss(ctx context.Context, group committedOffset) {
	text, ok := strings.CutPrefix(group.metadata, walMetadata)
	if !ok {
		return
	}
	earlier, ok := idem.ParseWALPosition(text)
	now, known := idem.ParseWALPosition(w.generation.consumer.readWAL(ctx))
	if ok && known && now.MayHaveLost(earlier) && w.generation.suspected.due(time.Hour) {
		w.log.WarnContext(ctx, "kafkaadapter: PostgreSQL was promoted or has lost a part of its log since the group's offset was committed: "+
			"what was processed last may be lost, and Mode ByEventID does not read it again; to do so set the group's offset back, by as much as may be lost",
			"group", group.offset, "wal_then", earlier, "wal_now", now)
	}
}
