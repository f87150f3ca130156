package ops

import (
	"context"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
)

// Pause says since when, by whom and why a consumer is paused.
type Pause = idem.Pause

// PauseRequest says who pauses a consumer, and why. Both are for people and may be empty.
type PauseRequest struct {
	By     string // added to the database's role and this host, which are known
	Reason string
}

// PauseResult is a consumer that was paused or resumed.
type PauseResult struct {
	Consumer string `json:"consumer"`
	Changed  bool   `json:"changed"` // false: it was so already
	Pause    *Pause `json:"pause"`   // that stands now, or that has ended; nil: it was not paused

	// Group is the Kafka group whose processes obey. Nil: none has used the consumer, so that nothing stands still; the guard's own
	// calls, and leases, do not ask.
	Group *string `json:"group"`
}

// newPause returns nil for what is not paused.
func newPause(micros int64, by, reason *string) *Pause {
	if by == nil || reason == nil {
		return nil
	}

	return &Pause{At: utc(micros), By: *by, Reason: *reason}
}

// Pause pauses a consumer: within 2 s all processes of its group begin with no other record. They finish the
// records in progress and stay in the group; one that starts waits too. It lasts until Resume. Pausing one that is
// paused changes nothing: the first pause stands. It needs the right to update the columns paused_at,
// paused_by and pause_reason of the table consumers.
func (c *Client) Pause(ctx context.Context, name string, request PauseRequest) (PauseResult, error) {
	if err := checkWords(request.By, request.Reason); err != nil {
		return PauseResult{}, err
	}
	consumer, err := c.open(ctx, name)
	if err != nil {
		return PauseResult{}, err
	}
	by, err := c.operator(ctx, request.By)
	if err != nil {
		return PauseResult{}, err
	}
	n, err := c.queries.ConsumerPause(ctx, c.conn, db.ConsumerPauseParams{ID: consumer.id, PausedBy: by, PauseReason: request.Reason})
	if err == nil {
		consumer, err = c.consumer(ctx, name)
	}
	if err != nil {
		return PauseResult{}, c.failed(ctx, "pause the consumer", err)
	}

	return PauseResult{Consumer: name, Changed: n > 0, Pause: consumer.Pause, Group: consumer.Group}, nil
}

// Resume ends a pause, whoever began it: all processes of the group go on within 2 s. Resuming a consumer that is
// not paused changes nothing. The error is idem.ErrConsumerClosed while the consumer is being renamed or deleted.
func (c *Client) Resume(ctx context.Context, name string) (PauseResult, error) {
	consumer, err := c.open(ctx, name)
	if err != nil {
		return PauseResult{}, err
	}
	n, err := c.queries.ConsumerResume(ctx, c.conn, consumer.id)
	if err != nil {
		return PauseResult{}, c.failed(ctx, "resume the consumer", err)
	}

	return PauseResult{Consumer: name, Changed: n > 0, Pause: consumer.Pause, Group: consumer.Group}, nil
}
