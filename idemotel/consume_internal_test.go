package idemotel

import (
	"strconv"
	"testing"

	"github.com/nova-events/idempotent-consumer/consume"
)

func TestEachPauseKindHasAName(t *testing.T) {
	t.Parallel()
	for kind := consume.PauseTransient; kind.String() != strconv.Itoa(int(kind)); kind++ {
		if pauseKinds[kind] == "" {
			t.Errorf("%v has no name in idem.pause.kind", kind)
		}
	}
}
