package engine

import "github.com/nova-events/idempotent-consumer/internal/offsetmark"

// Place is how far a partition is done with, as it is committed to Kafka.
type Place struct {
	Offset      int64
	LeaderEpoch int32  // of the record before it, or None
	Token       string // of the checkpoint's owner; empty in mode ByEventID
	Epoch       int64  // of that owner
}

// Metadata is what is committed with the offset. wal says where PostgreSQL's log ends
// (Engine.WALPosition); it is only used without a token.
func (p Place) Metadata(wal string) string {
	switch {
	case p.Token != "":
		return offsetmark.OfOwner(p.Token, p.Epoch)
	case wal != "":
		return walMark + wal
	default:
		return offsetmark.Mark
	}
}
