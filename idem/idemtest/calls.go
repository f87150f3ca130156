package idemtest

import (
	"context"

	"github.com/nova-events/idempotent-consumer/idem"
)

// Calls is a service that claims events in other ways, by Guard.ClaimTx, ExecIfNew or ProcessBatch for instance.
// Each function delivers an event as in production; they are called in this order. Check cannot see into the
// functions: no statement fails, and writes outside the transaction are found only by what they leave after a
// crash.
func Calls(guard *idem.Guard, deliver ...func(ctx context.Context) error) Subject {
	return Subject{guard: guard, delivery: &callList{deliver}}
}

type callList struct {
	calls []func(ctx context.Context) error
}

func (l *callList) deliver(ctx context.Context, _ *probe) error {
	for _, call := range l.calls {
		if err := call(ctx); err != nil {
			return err
		}
	}

	return nil
}

func (l *callList) again(ctx context.Context, p *probe) error { return l.deliver(ctx, p) }

func (l *callList) count() int { return len(l.calls) }

func (l *callList) reorder(order []int) { l.calls = inOrder(l.calls, order) }

func (l *callList) race(ctx context.Context, p *probe) error {
	return atOnce(ctx, processes, func(ctx context.Context) error { return l.deliver(ctx, p) })
}
