package engine

import (
	"context"
	"errors"
	"testing"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// away is Kafka while a copy is to be made, and the partition is revoked meanwhile.
type away struct {
	Source

	revoke func()
}

func (a away) Copy(context.Context, string, consume.Record) error {
	a.revoke()

	return errors.New("no route to host")
}

// A dead letter that was stored without its copy would never be copied.
func TestNoDeadLetterIsStoredBeforeItsCopy(t *testing.T) {
	t.Parallel()
	stored := false
	e, w := newPausable(consume.Hooks{Process: idem.Hook[consume.ProcessBegin, consume.ProcessEnd]{
		Begin: func(ctx context.Context, _ consume.ProcessBegin) context.Context {
			stored = true

			return ctx
		},
	}})
	e.config.Failure.DeadLetterSuffix = "-dlt"
	revoked, revoke := context.WithCancel(t.Context())
	w.source = away{revoke: revoke}
	if err := w.fail(revoked, t.Context(), consume.Message{}, errors.New("no such account")); err != nil || stored {
		t.Errorf("stored %v, %v", stored, err)
	}
}
