package idemotel

import (
	"context"
	"errors"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/lease"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// kinds are errors that have a word of their own, the more special ones first.
var kinds = []struct {
	is   error
	word string
}{
	{idem.ErrFenced, "fenced"},
	{idem.ErrRewound, "rewound"},
	{idem.ErrCheckpointGone, "checkpoint_gone"},
	{idem.ErrOutcomeUnknown, "outcome_unknown"},
	{outbox.ErrRefused, "refused"},
	{consume.ErrHandlerTimeout, "handler_timeout"},
	{consume.ErrHandlerExited, "handler_exited"},
	{consume.ErrOffsetOutOfRange, "offset_out_of_range"},
	{consume.ErrUnreadable, "unreadable"},
	{context.Canceled, "canceled"},
	{context.DeadlineExceeded, "timeout"},
}

// errorType returns error.type for an error: one of kinds, "lease_lost", "undecided", "panic", the SQLSTATE of PostgreSQL's answer,
// "transient" for what else is tried again, a lost connection for instance, "permanent" for a handler's consume.Permanent, or the conventions' "_OTHER".
// It is empty without an error.
func errorType(err error) string {
	if err == nil {
		return ""
	}
	switch { // These wrap why.
	case errors.As(err, new(*lease.LostError)):
		return "lease_lost"
	case errors.As(err, new(*lease.UndecidedError)):
		return undecided
	}
	for _, kind := range kinds {
		if errors.Is(err, kind.is) {
			return kind.word
		}
	}
	var state interface{ SQLState() string }
	switch {
	case errors.As(err, new(*consume.PanicError)):
		return "panic"
	case errors.As(err, &state):
		return state.SQLState()
	case idem.IsTransient(err):
		return "transient"
	case consume.IsPermanent(err):
		return "permanent"
	default:
		return "_OTHER"
	}
}
