package kafkaadapter_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/kafkaadapter"
)

func TestFirstOf(t *testing.T) {
	t.Parallel()
	a, b := kafkaadapter.Header("a"), kafkaadapter.Header("b")
	empty := func(kafka.Message) (string, error) { return "", nil }
	both := kafkaadapter.FirstOf(a, b)
	testIDs(t, map[string]idCase{
		"first":                 {both, headers("b", "2", "a", "1"), "1", ""},
		"second":                {both, headers("b", "2"), "2", ""},
		"second, first empty":   {both, headers("a", "", "b", "2"), "2", ""},
		"second, nested":        {kafkaadapter.FirstOf(kafkaadapter.FirstOf(a), kafkaadapter.FirstOf(b)), headers("b", "2"), "2", ""},
		"second, first is none": {kafkaadapter.FirstOf(empty, b), headers("b", "2"), "2", ""},
		"none":                  {both, headers("c", "3"), "", `no event id: there is no header "a"; no event id: there is no header "b"`},
		"none without an error": {kafkaadapter.FirstOf(a, empty), headers(), "", `there is no header "a"; no event id: strategy 2 of FirstOf returned an empty id`},
		"no strategies":         {kafkaadapter.FirstOf(), headers("a", "1"), "", "FirstOf was given no strategies"},
		"nil":                   {kafkaadapter.FirstOf(nil), headers("a", "1"), "", "strategy 1 of FirstOf is nil"},
		"nil behind":            {kafkaadapter.FirstOf(a, nil), headers("a", "1"), "", "strategy 2 of FirstOf is nil"},
	})
}

func TestFirstOfReturnsOtherErrorsAtOnce(t *testing.T) {
	t.Parallel()
	errVault := errors.New("the vault is closed")
	strategy := kafkaadapter.FirstOf(
		kafkaadapter.Header("a"),
		func(kafka.Message) (string, error) { return "ignored", errVault },
		func(kafka.Message) (string, error) { panic("it was tried") },
	)
	if id, err := strategy(headers()); id != "" || !errors.Is(err, errVault) || errors.Is(err, kafkaadapter.ErrNoEventID) {
		t.Errorf("got %q, %v; want %v alone", id, err, errVault)
	}
	if id, err := strategy(headers("a", "1")); id != "1" || err != nil {
		t.Errorf("got %q, %v; want 1", id, err)
	}
}

func TestFirstOfKeepsAllReasons(t *testing.T) {
	t.Parallel()
	reasons := []error{errors.New("one"), errors.New("two"), errors.New("three")}
	var strategies []kafkaadapter.EventID
	for _, reason := range reasons {
		strategies = append(strategies, func(kafka.Message) (string, error) {
			return "", fmt.Errorf("%w: %w", kafkaadapter.ErrNoEventID, reason)
		})
	}
	all := kafkaadapter.FirstOf(strategies...)
	strategies[0] = nil // must not matter any more
	_, err := all(kafka.Message{})
	for _, reason := range reasons {
		if !errors.Is(err, reason) || !strings.Contains(err.Error(), reason.Error()) {
			t.Errorf("%v lacks %v", err, reason)
		}
	}
}
