package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
)

func TestSeedDecidesThePlan(t *testing.T) {
	t.Parallel()
	of := func(seed uint64, duration time.Duration) string {
		p, err := newPlan(settings{seed: seed, duration: duration})
		if err != nil {
			t.Fatal(err)
		}

		return p.String() + "\n" + p.schedule() + p.character(7, eager).String()
	}
	first, again, other := of(1, time.Minute), of(1, time.Minute), of(2, time.Minute)
	if first != again {
		t.Error("one seed makes two plans")
	}
	if first == other {
		t.Error("two seeds make one plan")
	}
}

func TestEachFaultHasACause(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, domain := range domains {
		for _, kind := range domain.names {
			known[kind] = true
			if causes[kind] == nil {
				t.Errorf("nothing causes %q", kind)
			}
		}
	}
	for kind := range causes {
		if !known[kind] {
			t.Errorf("%q never comes", kind)
		}
	}
}

// Without checkpoints nobody promises to notice what Kafka or PostgreSQL loses.
func TestFaultsAskForNoMoreThanIsPromised(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		for _, kind := range []string{elect, failover} {
			if asks := (promise{Mode: mode}).asks(kind); asks != (mode != consume.ByEventID) {
				t.Errorf("%v: %s comes: %v", promise{Mode: mode}, kind, asks)
			}
		}
	}
}

func TestNextReleaseFitsTheSource(t *testing.T) {
	t.Parallel()
	overlay := map[string]string{}
	if err := nextRelease(t.Context(), t.TempDir(), overlay); err != nil {
		t.Fatal(err)
	}
	for source, file := range overlay {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if before, err := os.ReadFile(source); err == nil && string(before) == string(text) || strings.Contains(string(text), "%!") {
			t.Errorf("the next release's %s:\n%s", source, text)
		}
	}
}
