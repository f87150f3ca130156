// Package offsetmark is the mark by which offsets that this library has committed to Kafka are told from those of
// others.
package offsetmark

import (
	"math"
	"strconv"
	"strings"
)

// Mark begins the metadata of the offsets that this library commits, in version 1 of that form. Behind it
// stand the token and the epoch of the checkpoint's owner, so that an offset that is ahead of the checkpoint is
// known to be this library's: then the database has lost what it had committed before, unless the checkpoint was set
// since that epoch. Others commit without it, as an operator's tools do.
const Mark = "idem/1"

const (
	withToken = Mark + " token="
	withEpoch = " epoch="
)

// OfOwner is the metadata of an offset at which a checkpoint stood, too.
func OfOwner(token string, epoch int64) string {
	return withToken + token + withEpoch + strconv.FormatInt(epoch, 10)
}

// HasToken reports whether the metadata of an offset say that a checkpoint stood there, too.
func HasToken(metadata string) bool { return strings.HasPrefix(metadata, withToken) }

// Epoch returns the epoch of the owner that has committed the offset, or the highest number if the metadata do not say.
func Epoch(metadata string) int64 {
	_, text, _ := strings.Cut(metadata, withEpoch)
	epoch, err := strconv.ParseInt(text, 10, 64)
	if err != nil || !HasToken(metadata) {
		return math.MaxInt64
	}

	return epoch
}

// HasNoToken reports whether the metadata of an offset say that this library has committed it without a checkpoint.
func HasNoToken(metadata string) bool {
	return strings.HasPrefix(metadata, Mark) && !HasToken(metadata)
}
