package idem

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/google/uuid"
)

// running is a call whose handler runs, in the context of that handler. Its events are claimed in an open transaction: to claim one of
// them again there would find it claimed, and to do so in another transaction would wait for this one.
type running struct {
	guard *Guard
	key   uuid.UUID
	batch *keyed   // nil: key alone
	outer *running // in whose handler the call was made; nil: in none
	ended atomic.Bool
}

type runningKey struct{}

// running returns the context of a call's handler, and what to call when that has ended.
func (g *Guard) running(ctx context.Context, c call) (within context.Context, end func()) {
	r := &running{guard: g, key: c.key, batch: c.batch, outer: runningIn(ctx)}

	return context.WithValue(ctx, runningKey{}, r), func() { r.ended.Store(true) }
}

func runningIn(ctx context.Context) *running {
	r, _ := ctx.Value(runningKey{}).(*running)

	return r
}

// notWithin refuses an event if ctx is that of its handler.
func (g *Guard) notWithin(ctx context.Context, eventID string) error {
	for r := runningIn(ctx); r != nil; r = r.outer {
		if !r.ended.Load() && r.guard.sharesClaims(g) && r.claims(Key(eventID)) {
			return fmt.Errorf("%w: the handler of event %q claims it again: it is claimed in the handler's transaction, so write through that, "+
				"or use another consumer", ErrInvalidConfig, eventID)
		}
	}

	return nil
}

// noneWithin is notWithin for many events.
func (g *Guard) noneWithin(ctx context.Context, events int, eventID func(i int) string) error {
	if runningIn(ctx) == nil {
		return nil
	}
	for i := range events {
		if err := g.notWithin(ctx, eventID(i)); err != nil {
			return err
		}
	}

	return nil
}

func (r *running) claims(key uuid.UUID) bool {
	return r.key == key || r.batch != nil && slices.Contains(r.batch.keys, key.String())
}

// sharesClaims reports whether two guards are of one consumer and one database, as far as they know.
func (g *Guard) sharesClaims(other *Guard) bool {
	return g.pool == other.pool && g.store == other.store && g.consumer == other.consumer && g.names.name == other.names.name
}
