package ops

import (
	"context"
	"fmt"
)

// MarkResult says how many events were marked as processed.
type MarkResult struct {
	Consumer         string `json:"consumer"`
	Events           int    `json:"events"` // that were given
	Marked           int64  `json:"marked"`
	AlreadyProcessed int64  `json:"already_processed"`
	Complete         bool   `json:"complete"`
}

// MarkEvents marks distinct events as processed for a registered consumer, without processing them: when they
// are delivered they count as duplicates. Events that are processed already do not change. All ids are
// checked before anything is done. If a connection is lost, the counts may be too low by one part.
func (c *Client) MarkEvents(ctx context.Context, consumer string, eventIDs []string, progress Progress) (MarkResult, error) {
	if err := checkEventIDs(eventIDs); err != nil {
		return MarkResult{}, err
	}
	guard, err := c.guard(ctx, consumer)
	if err != nil {
		return MarkResult{}, err
	}
	r := MarkResult{Consumer: consumer, Events: len(eventIDs)}
	err = inParts(eventIDs, progress, func(part []string) error {
		marked, err := guard.MarkAllProcessed(ctx, part)
		r.Marked += marked
		if err != nil {
			return fmt.Errorf("mark events: %w", err)
		}
		r.AlreadyProcessed += int64(len(part)) - marked

		return nil
	})
	r.Complete = err == nil

	return r, err
}

// ForgetResult says how many events were forgotten.
type ForgetResult struct {
	Consumer  string `json:"consumer"`
	Events    int    `json:"events"` // that were given
	Forgotten int64  `json:"forgotten"`
	Unknown   int64  `json:"unknown"`
	Complete  bool   `json:"complete"`
}

// ForgetEvents forgets that a registered consumer has processed distinct events. When they are delivered again
// they are processed again; their first effects stay. All ids are checked before anything is done. If a
// connection is lost, the counts may be wrong by one part.
func (c *Client) ForgetEvents(ctx context.Context, consumer string, eventIDs []string, progress Progress) (ForgetResult, error) {
	if err := checkEventIDs(eventIDs); err != nil {
		return ForgetResult{}, err
	}
	guard, err := c.guard(ctx, consumer)
	if err != nil {
		return ForgetResult{}, err
	}
	r := ForgetResult{Consumer: consumer, Events: len(eventIDs)}
	err = inParts(eventIDs, progress, func(part []string) error {
		forgotten, err := guard.Forget(ctx, part...)
		r.Forgotten += forgotten
		if err != nil {
			return fmt.Errorf("forget events: %w", err)
		}
		r.Unknown += int64(len(part)) - forgotten

		return nil
	})
	r.Complete = err == nil

	return r, err
}

func checkEventIDs(ids []string) error {
	for _, id := range ids {
		if err := checkEventID(id); err != nil {
			return err
		}
	}

	return nil
}
