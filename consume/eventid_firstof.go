package consume

import (
	"errors"
	"fmt"
	"slices"
)

// FirstOf tries the strategies in their order and returns the first id. If a strategy fails with
// ErrNoEventID, or returns an empty id, the next one is tried; any other error is returned at once.
// If all fail, the error wraps ErrNoEventID and has all their reasons. If there is no strategy, or
// one is nil, every record fails in this way.
//
// FirstOf detects a duplicate only if the same strategy returns the id for both records: if a producer
// sends a header with a record and leaves it out when it sends the record again, these are two events. Two
// events also collide if one strategy returns for one the id that another strategy returns for the other.
// For several topics, either each of the strategies or FirstOf itself needs InTopic or AcrossTopics, if
// New asks for it.
func FirstOf(strategies ...EventID) EventID {
	strategies = slices.Clone(strategies)
	if err := checkStrategies(strategies); err != nil {
		return func(Record) (string, error) { return "", err }
	}

	first := func(record Record) (string, error) {
		var reasons error
		for i, strategy := range strategies {
			id, err := strategy(record)
			switch {
			case err == nil && id != "":
				return id, nil
			case err == nil:
				err = fmt.Errorf("%w: strategy %d of FirstOf returned an empty id", ErrNoEventID, i+1)
			case !errors.Is(err, ErrNoEventID):
				return "", err
			}
			if reasons == nil {
				reasons = err
			} else {
				reasons = fmt.Errorf("%w; %w", reasons, err) // errors.Join would break the line.
			}
		}

		return "", reasons
	}
	if slices.ContainsFunc(strategies, func(s EventID) bool { return !isSettled(s) }) {
		return first
	}

	return settled(first)
}

// checkStrategies finds a nil at once, not when a record comes that the others have no id for.
func checkStrategies(strategies []EventID) error {
	if len(strategies) == 0 {
		return fmt.Errorf("%w: FirstOf was given no strategies", ErrNoEventID)
	}
	for i, strategy := range strategies {
		if strategy == nil {
			return fmt.Errorf("%w: strategy %d of FirstOf is nil", ErrNoEventID, i+1)
		}
	}

	return nil
}
