// Package offsetmark is the mark by which offsets that this library has committed to Kafka are told from those of
// others.
package offsetmark

import "strings"

// Mark begins the metadata of the offsets that this library commits, in version 1 of that form. Behind it
// stands the token of the checkpoint's owner, so that an offset that is ahead of the checkpoint is
// known to be this library's: then the database has lost what it had committed before. Others commit
// without it, as an operator's tools do.
const Mark = "idem/1"

// WithToken is the metadata of an offset at which a checkpoint stood, too.
func WithToken(token string) string { return Mark + " token=" + token }

// HasToken reports whether the metadata of an offset say that a checkpoint stood there, too.
func HasToken(metadata string) bool { return strings.HasPrefix(metadata, WithToken("")) }

// HasNoToken reports whether the metadata of an offset say that this library has committed it without a checkpoint.
func HasNoToken(metadata string) bool {
	return strings.HasPrefix(metadata, Mark) && !HasToken(metadata)
}
