package consume

import (
	"fmt"
	"reflect"
	"strconv"
)

// InTopic makes the ids of a strategy ids of their topic, as in "6:orders:A234": the length of the
// topic's name in bytes, the name, the id. It is for ids that are unique only within their topic, such as
// numbers that each topic counts from 0. The error is that of the strategy, or ErrNoEventID if the
// strategy returns an empty id.
//
// The ids differ from those without InTopic: records that were processed before are then known by
// their checkpoint only.
func InTopic(strategy EventID) EventID {
	return settled(func(record Record) (string, error) {
		if strategy == nil {
			return "", fmt.Errorf("%w: the strategy of InTopic is nil", ErrNoEventID)
		}
		id, err := strategy(record)
		switch {
		case err != nil:
			return "", err
		case id == "":
			return "", fmt.Errorf("%w: the strategy of InTopic returned an empty id", ErrNoEventID)
		default:
			return strconv.Itoa(len(record.Topic)) + ":" + record.Topic + ":" + id, nil
		}
	})
}

// AcrossTopics says that an id of the strategy is one event, whatever topics it comes in: a record
// with an id that was processed in another topic is a duplicate. The ids stay as they are.
func AcrossTopics(strategy EventID) EventID {
	return settled(func(record Record) (string, error) {
		if strategy == nil {
			return "", fmt.Errorf("%w: the strategy of AcrossTopics is nil", ErrNoEventID)
		}

		return strategy(record)
	})
}

// settled marks a strategy of which it is known whether its ids are unique across topics: New refuses
// others for several topics. A function can carry no mark, so the mark is the code of the one that
// settled returns, which is in the program once, because settled is not inlined.
//
//go:noinline
func settled(of func(record Record) (string, error)) EventID {
	return func(record Record) (string, error) { return of(record) }
}

var settledCode = reflect.ValueOf(settled(nil)).Pointer()

func isSettled(strategy EventID) bool { return reflect.ValueOf(strategy).Pointer() == settledCode }
