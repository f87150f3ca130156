package offsetmark_test

import (
	"math"
	"testing"

	"github.com/nova-events/idempotent-consumer/internal/offsetmark"
)

// FuzzMark has the metadata of an offset say one thing at most, whoever has committed it.
func FuzzMark(f *testing.F) {
	for _, metadata := range []string{"", "idem", offsetmark.Mark, offsetmark.Mark + " lsn=0/0", offsetmark.OfOwner("x", 7), "\x00\xff"} {
		f.Add(metadata)
	}
	f.Fuzz(func(t *testing.T, metadata string) {
		if offsetmark.HasToken(metadata) && offsetmark.HasNoToken(metadata) {
			t.Errorf("%q has a token and none", metadata)
		}
		if epoch := offsetmark.Epoch(metadata); epoch < 0 || epoch != math.MaxInt64 && !offsetmark.HasToken(metadata) {
			t.Errorf("%q has the epoch %d", metadata, epoch)
		}
	})
}
