package engine

import (
	"context"
	"fmt"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// errNoReturn is what hooks are told of what does not return.
var errNoReturn = fmt.Errorf("%w, or panicked with Config.LetPanic", consume.ErrHandlerExited)

// watched is a hook between its Begin and its End, which must be called once.
type watched[B, E any] struct {
	hook  idem.Hook[B, E]
	ctx   context.Context //nolint:containedctx // It is Begin's, for End.
	begin B
}

// watch calls Begin. It returns the context to go on with.
func watch[B, E any](ctx context.Context, hook idem.Hook[B, E], begin B) (context.Context, watched[B, E]) {
	if hook.Begin != nil {
		if begun := hook.Begin(ctx, begin); begun != nil {
			ctx = begun
		}
	}

	return ctx, watched[B, E]{hook, ctx, begin}
}

func (w *watched[B, E]) end(end E) {
	if w.hook.End != nil {
		w.hook.End(w.ctx, w.begin, end)
	}
}

func isUnset[B, E any](hook idem.Hook[B, E]) bool { return hook.Begin == nil && hook.End == nil }

// at is a place in the worker's partition.
func (w *worker) at(offset int64) consume.Place {
	return consume.Place{Topic: w.partition.Topic, Partition: w.partition.Number, Offset: offset}
}

// tell tells what has happened at an offset of the partition.
func (w *worker) tell(ctx context.Context, offset int64, e consume.Event) {
	if w.config.Hooks.Event != nil {
		e.Place = w.at(offset)
		w.config.Hooks.Event(ctx, e)
	}
}

// fetch is Source.Fetch between its hooks.
func (w *worker) fetch(ctx context.Context, request Request) (batch *Batch, err error) {
	ctx, fetch := watch(ctx, w.config.Hooks.Fetch, consume.FetchBegin{Place: w.at(request.Offset)})
	end := consume.FetchEnd{Err: errNoReturn}
	defer func() { fetch.end(end) }()
	batch, err = w.source.Fetch(ctx, request)
	if end = (consume.FetchEnd{Err: err}); err == nil {
		w.condition.learn(batch.HighWatermark)
		end = consume.FetchEnd{
			Records: len(batch.Records), Next: batch.Next, Lag: max(0, batch.HighWatermark-batch.Next), Throttle: batch.Throttle,
		}
	}

	return batch, err
}

// watchProcess calls the hooks around a try to process records, the first at offset. messages is called only if there are hooks.
func (w *worker) watchProcess(
	ctx context.Context, kind idem.OpKind, offset int64, messages func() consume.Messages, try func(ctx context.Context) consume.ProcessEnd,
) {
	w.asks.begin(offset)
	defer w.asks.end()
	hook := w.config.Hooks.Process
	if isUnset(hook) {
		try(ctx)

		return
	}
	ctx, process := watch(ctx, hook, consume.ProcessBegin{Kind: kind, Messages: messages()})
	end := consume.ProcessEnd{Err: errNoReturn}
	defer func() { process.end(end) }()
	end = try(ctx)
}

// watchOne calls the hooks around a try to process one record.
func (w *worker) watchOne(
	ctx context.Context, kind idem.OpKind, m consume.Message, try func(ctx context.Context) (idem.Outcome, error),
) (outcome idem.Outcome, err error) {
	w.watchProcess(ctx, kind, m.Offset, func() consume.Messages { return consume.MessagesOf(m) }, func(ctx context.Context) consume.ProcessEnd {
		w.duplicate = idem.DuplicateUnknown // Not all tries tell.
		outcome, err = try(ctx)
		end := consume.ProcessEnd{Err: err}
		switch outcome {
		case idem.Processed:
			end.Processed = 1
		case idem.AlreadyProcessed:
			end.Duplicates = 1
		}
		if outcome == idem.AlreadyProcessed || w.duplicate == idem.DuplicateCollision {
			end.DuplicateKinds[w.duplicate]++
		}

		return end
	})

	return outcome, err
}

// call calls a handler between its hooks, safely. The first message is the record that an error is of.
func (w *worker) call(ctx context.Context, first consume.Message, messages func() consume.Messages, handler func(ctx context.Context) error) error {
	hook := w.config.Hooks.Handler
	if isUnset(hook) {
		return w.safely(first, func() error { return handler(ctx) })
	}
	ctx, call := watch(ctx, hook, consume.HandlerBegin{Messages: messages()})
	err := errNoReturn
	defer func() { call.end(consume.HandlerEnd{Err: err}) }()
	err = w.safely(first, func() error { return handler(ctx) })

	return err
}

// WatchCommit calls the hooks around a request that commits offsets. places is called only if there are hooks.
func (e *Engine) WatchCommit(ctx context.Context, places func() []consume.Place, commit func(ctx context.Context) error) error {
	hook := e.config.Hooks.OffsetCommit
	if isUnset(hook) {
		return commit(ctx)
	}
	ctx, request := watch(ctx, hook, consume.OffsetCommitBegin{Places: places()})
	err := errNoReturn
	defer func() { request.end(consume.OffsetCommitEnd{Err: err}) }()
	err = commit(ctx)

	return err
}
