package main

import (
	"errors"
	"testing"
)

// The standby lacks what the guarded consumer has committed to Kafka too, and yet its ledger is
// right at the end; the naive consumer loses that.
func TestFailoverLosesNothingBehindTheGuard(t *testing.T) {
	t.Parallel()
	got, err := perform(t, settings{failover: true})
	if err != nil {
		t.Error(err)
	}
	if got.Events != 3_000 || got.Lost != 0 || got.Doubled != 0 || got.Rewinds != 8 {
		t.Errorf("report = %+v, want nothing lost or doubled and 8 partitions rewound", got)
	}
	if got.NaiveLost == 0 {
		t.Errorf("report = %+v, want the naive consumer to lose payments", got)
	}
}

// A demo that cannot fail proves nothing.
func TestFailoverOfABrokenGuardFails(t *testing.T) {
	t.Parallel()
	got, err := perform(t, settings{failover: true, breakGuard: true})
	if !errors.Is(err, errWrongLedger) || got.Doubled == 0 {
		t.Errorf("error = %v, report = %+v, want doubled payments to be noticed", err, got)
	}
}
