//nolint:goconst // The names are those of lease.tla.
package main

const (
	needsDecision = "NeedsDecision"
	rerun         = "Rerun"
	ask           = "Ask"

	// honest are the promises of a lease that each policy keeps.
	honest = "OneHolder CompletedByTheLatest CompletedTrue "
)

var leaseHolds = []check{
	{name: "lease-needs-decision", mode: needsDecision, faults: 2, kinds: "Crash Cancel Fail LoseAnswer", promises: honest + "OneEffect NothingSilent Completed"},
	{name: "lease-frozen", mode: needsDecision, faults: 3, kinds: "Freeze Crash Cancel", promises: honest + "OneEffectADecision NothingSilent Completed"},
	{name: "lease-rerun", mode: rerun, faults: 3, kinds: "Freeze Crash Cancel Fail LoseAnswer", promises: honest + "NothingSilent Completed"},
	{name: "lease-ask", mode: ask, faults: 3, kinds: "Crash Cancel Fail LoseAnswer", promises: honest + "OneEffect NothingSilent Completed"},
	{name: "lease-no-fault", mode: rerun, promises: honest + "OneEffect NothingSilent Completed"},
}

var leaseMutants = []check{
	{without: "FreeOnly", mode: rerun, promises: "OneEffect"},
	{without: "ClaimLookedAt", mode: rerun, promises: "OneEffect"},
	{without: "WaitsForDecision", mode: needsDecision, faults: 1, kinds: "Crash", promises: "OneEffectADecision"},
	{without: "UnknownCounted", mode: rerun, faults: 1, kinds: "Crash", promises: "NothingSilent"},
	{without: "ErrorsDoubted", mode: needsDecision, faults: 1, kinds: "Cancel", promises: "OneEffectADecision"},
	{without: "CompletedByHolder", mode: rerun, faults: 1, kinds: "Freeze", promises: "CompletedByTheLatest"},
	{without: "CompletedAtOnce", mode: needsDecision, faults: 1, kinds: "Crash", promises: "OneEffectADecision"},
	{without: "EndedByHolder", mode: rerun, faults: 2, kinds: "Freeze Fail", promises: "NothingSilent"},
}

var leaseLimits = []check{
	{name: "ask-too-early", text: "the answer of the other system while an attempt is still on its way there (`Ask`)", mode: ask, faults: 1, kinds: "Freeze", broken: true, promises: "OneEffect"},
	{name: "rerun-alone", text: "`Rerun` where the other system does not recognize the key", mode: rerun, faults: 1, kinds: "Crash", broken: true, promises: "OneEffect"},
}
