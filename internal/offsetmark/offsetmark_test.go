package offsetmark_test

import (
	"math"
	"testing"

	"github.com/nova-events/idempotent-consumer/internal/offsetmark"
)

// Anybody who may commit offsets writes metadata: what does not say which owner it is from must not hide lost commits.
func TestEpoch(t *testing.T) {
	t.Parallel()
	for metadata, want := range map[string]int64{
		offsetmark.OfOwner("x", 7):                          7,
		offsetmark.OfOwner("x", 0):                          0,
		"":                                                  math.MaxInt64,
		offsetmark.Mark:                                     math.MaxInt64,
		offsetmark.Mark + " token=x":                        math.MaxInt64,
		offsetmark.Mark + " token=x epoch=":                 math.MaxInt64,
		offsetmark.Mark + " token=x epoch=7 more":           math.MaxInt64,
		offsetmark.Mark + " token=x epoch=9e9":              math.MaxInt64,
		offsetmark.Mark + " epoch=7":                        math.MaxInt64,
		"note " + offsetmark.OfOwner("x", 7):                math.MaxInt64,
		offsetmark.OfOwner("x", 7) + "00000000000000000000": math.MaxInt64,
	} {
		if got := offsetmark.Epoch(metadata); got != want {
			t.Errorf("%q: epoch %d, want %d", metadata, got, want)
		}
	}
}
