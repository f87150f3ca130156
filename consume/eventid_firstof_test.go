package consume_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/consume"
)

func TestFirstOf(t *testing.T) {
	t.Parallel()
	a, b := consume.Header("a"), consume.Header("b")
	empty := func(consume.Record) (string, error) { return "", nil }
	both := consume.FirstOf(a, b)
	testIDs(t, map[string]idCase{
		"first":                 {both, headers("b", "2", "a", "1"), "1", ""},
		"second":                {both, headers("b", "2"), "2", ""},
		"second, first empty":   {both, headers("a", "", "b", "2"), "2", ""},
		"second, nested":        {consume.FirstOf(consume.FirstOf(a), consume.FirstOf(b)), headers("b", "2"), "2", ""},
		"second, first is none": {consume.FirstOf(empty, b), headers("b", "2"), "2", ""},
		"none":                  {both, headers("c", "3"), "", `no event id: there is no header "a"; no event id: there is no header "b"`},
		"none without an error": {consume.FirstOf(a, empty), headers(), "", `there is no header "a"; no event id: strategy 2 of FirstOf returned an empty id`},
		"no strategies":         {consume.FirstOf(), headers("a", "1"), "", "FirstOf was given no strategies"},
		"nil":                   {consume.FirstOf(nil), headers("a", "1"), "", "strategy 1 of FirstOf is nil"},
		"nil behind":            {consume.FirstOf(a, nil), headers("a", "1"), "", "strategy 2 of FirstOf is nil"},
	})
}

func TestFirstOfReturnsOtherErrorsAtOnce(t *testing.T) {
	t.Parallel()
	errVault := errors.New("the vault is closed")
	strategy := consume.FirstOf(
		consume.Header("a"),
		func(consume.Record) (string, error) { return "ignored", errVault },
		func(consume.Record) (string, error) { panic("it was tried") },
	)
	if id, err := strategy(headers()); id != "" || !errors.Is(err, errVault) || errors.Is(err, consume.ErrNoEventID) {
		t.Errorf("got %q, %v; want %v alone", id, err, errVault)
	}
	if id, err := strategy(headers("a", "1")); id != "1" || err != nil {
		t.Errorf("got %q, %v; want 1", id, err)
	}
}

func TestFirstOfKeepsAllReasons(t *testing.T) {
	t.Parallel()
	reasons := []error{errors.New("one"), errors.New("two"), errors.New("three")}
	var strategies []consume.EventID
	for _, reason := range reasons {
		strategies = append(strategies, func(consume.Record) (string, error) {
			return "", fmt.Errorf("%w: %w", consume.ErrNoEventID, reason)
		})
	}
	all := consume.FirstOf(strategies...)
	strategies[0] = nil // must not matter any more
	_, err := all(consume.Record{})
	for _, reason := range reasons {
		if !errors.Is(err, reason) || !strings.Contains(err.Error(), reason.Error()) {
			t.Errorf("%v lacks %v", err, reason)
		}
	}
}
