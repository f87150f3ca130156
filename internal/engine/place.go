package engine

import "strings"

// mark marks the offsets that this library commits, in version 1 of that form. Behind it
// stands the token of the checkpoint's owner, so that an offset that is ahead of the checkpoint is
// known to be this library's: then the database has lost what it had committed before. Others commit
// without it, as an operator's tools do.
const mark = "idem/1"

// Place is how far a partition is done with, as it is committed to Kafka.
type Place struct {
	Offset      int64
	LeaderEpoch int32  // of the record before it, or None
	Token       string // of the checkpoint's owner; empty in mode ByEventID
}

// Metadata is what is committed with the offset. wal says where PostgreSQL's log ends
// (Engine.WALPosition); it is only used without a token.
func (p Place) Metadata(wal string) string {
	switch {
	case p.Token != "":
		return mark + " token=" + p.Token
	case wal != "":
		return walMark + wal
	default:
		return mark
	}
}

// hasToken reports whether the metadata of an offset say that a checkpoint stood there, too.
func hasToken(metadata string) bool { return strings.HasPrefix(metadata, mark+" token=") }
