//nolint:goconst // The names are those of idem.tla.
package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// check is a run of the checker.
type check struct {
	name     string
	text     string // what a mechanism or a limit is
	mode     string // the constants of the specification
	records  int    // as those below; 0: there are none
	faults   int    //
	kinds    string //
	without  string //
	promises string // that hold, or the one that is broken
	broken   bool   // whether it is
}

const (
	both       = "ByEventIDAndCheckpoint"
	ids        = "ByEventID"
	checkpoint = "ByCheckpoint"

	nothing = "nothing"

	// always are the promises that every state has to keep.
	always = "Once NothingLost OneHandler OwnerAlone OffsetBehind Truthful AlarmsAreTrue "

	// inTheEnd are kept in the end, onTheWay by each step: the properties that are no invariants.
	inTheEnd = arrives + " Completed"
	arrives  = "Processed Arrives"
	onTheWay = "OffsetGoesOn"

	// local are the faults after which neither the database nor the checkpoint has gone back.
	local = "Fail LoseAnswer Rebalance Crash "
)

// specification is a module of TLA+ with what is checked of it.
type specification struct {
	name    string
	title   string  // in the document
	holds   []check // of the whole model
	mutants []check // without a mechanism. Each has the faults that the mechanism is for, and names the promise that is broken.
	limits  []check // what is not promised
}

// specifications are all of them. No two checks have one name.
var specifications = []specification{
	{name: "idem", title: "A partition", holds: holds, mutants: mutants, limits: limits},
	{name: "lease", title: "Leases", holds: leaseHolds, mutants: leaseMutants, limits: leaseLimits},
	{name: "outbox", title: "The outbox", holds: outboxHolds, mutants: outboxMutants},
}

var holds = []check{
	{name: "one-fault", mode: both, records: 3, faults: 1, kinds: local + "Failover Forget Reset", promises: always + "StartsAreTrue " + arrives},
	{name: "members", mode: both, records: 3, faults: 2, kinds: local, promises: always + onTheWay + " " + arrives},
	{name: "ids", mode: ids, records: 3, faults: 2, kinds: local, promises: always + onTheWay + " " + arrives},
	{name: "checkpoints", mode: checkpoint, records: 2, faults: 1, kinds: local + "Failover", promises: always + arrives},
	{name: "failovers", mode: both, records: 2, faults: 2, kinds: "Failover Crash", promises: always + "StartsAreTrue " + arrives},
	{name: "resets", mode: both, records: 2, faults: 2, kinds: "Reset Crash Failover", promises: always + "StartsAreTrue " + arrives},
}

var mutants = []check{
	{without: "ClaimFirst", mode: ids, records: 2, faults: 1, kinds: "Rebalance", promises: "Once"},
	{without: "ClaimInTransaction", mode: ids, records: 2, faults: 1, kinds: "Crash", promises: "NothingLost"},
	{without: "OutcomeLookedUp", mode: ids, records: 2, faults: 1, kinds: "LoseAnswer", promises: "NothingLost"},
	{without: "OutcomeWaits", mode: both, records: 2, faults: 1, kinds: "LoseAnswer", promises: "Truthful"},
	{without: "OutcomeByClaim", mode: ids, records: 2, faults: 2, kinds: "LoseAnswer Rebalance", promises: "Truthful"},
	{without: "LetterWithMark", mode: both, records: 2, faults: 2, kinds: "Fail Crash", promises: "Processed"},
	{without: "OffsetAfterCommit", mode: both, records: 2, promises: "OffsetBehind"},
	{without: "OffsetHasToken", mode: both, records: 2, faults: 2, kinds: "Failover Crash", promises: "NothingLost"},
	{without: "OffsetOfGeneration", mode: both, records: 2, faults: 1, kinds: "Rebalance", promises: "OffsetGoesOn"},
	{without: "CheckpointDecides", mode: both, records: 2, faults: 2, kinds: "Failover Crash", promises: "NothingLost"},
	{without: "CheckpointCompared", mode: both, records: 2, faults: 1, kinds: "Failover", promises: "NothingLost"},
	{without: "TokenCompared", mode: both, records: 2, faults: 1, kinds: "Rebalance", promises: "OwnerAlone"},
	{without: "TokenReadAtOnce", mode: both, records: 2, faults: 1, kinds: "Rebalance", promises: "Processed"},
	{without: "TokenRandom", mode: both, records: 2, faults: 2, kinds: "Failover Rebalance", promises: "OwnerAlone"},
	{without: "PartitionHeld", mode: checkpoint, records: 2, faults: 1, kinds: "Rebalance", promises: "OneHandler"},
	{without: "HoldersEnded", mode: both, records: 2, faults: 1, kinds: "Rebalance", promises: "Processed"},
	{without: "ReadsAgain", mode: both, records: 2, faults: 1, kinds: "Failover", promises: "NothingLost"},
	{without: "IdleVerified", mode: both, records: 2, faults: 1, kinds: "Failover", promises: "Processed"},
	{without: "DuplicatesPassed", mode: both, records: 3, promises: "Arrives"},
	{without: "ResetTakesToken", mode: both, records: 2, faults: 1, kinds: "Reset", promises: "AlarmsAreTrue"},
	{without: "ResetRemembered", mode: both, records: 2, faults: 2, kinds: "Reset Crash", promises: "StartsAreTrue"},
}

var limits = []check{
	{name: "ids-failover", text: "a failover in mode `ByEventID`", mode: ids, records: 2, faults: 2, kinds: "Failover Crash", broken: true, promises: "NothingLost"},
	{name: "ids-forgotten", text: "an event that is forgotten while a former member stands still, in mode `ByEventID`", mode: ids, records: 2, faults: 1, kinds: "Forget Rebalance", broken: true, promises: "Once"},
}

// mechanism is one that idem.tla names.
type mechanism struct{ name, text string }

var mechanismLine = regexp.MustCompile(`(?m)^    "(\w+)",? +\\\* (.*)$`)

func readMechanisms(path string) ([]mechanism, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []mechanism
	for _, match := range mechanismLine.FindAllStringSubmatch(string(content), -1) {
		all = append(all, mechanism{match[1], match[2]})
	}

	return all, nil
}

// withMechanisms returns a check for each mechanism, also where nobody has said how it is missed.
func (s specification) withMechanisms(mechanisms []mechanism) []check {
	checks := make([]check, len(mechanisms))
	for i, m := range mechanisms {
		if k := slices.IndexFunc(s.mutants, func(c check) bool { return c.without == m.name }); k >= 0 {
			checks[i] = s.mutants[k]
		}
		checks[i].name, checks[i].text, checks[i].without, checks[i].broken = m.name, m.text, m.name, true
	}

	return checks
}

// configuration is the check as TLC's .cfg.
func (c check) configuration() string {
	without := c.without
	if without == "" {
		without = nothing
	}
	kinds := ""
	if c.kinds != "" {
		kinds = `"` + strings.Join(strings.Fields(c.kinds), `", "`) + `"`
	}
	var text strings.Builder
	fmt.Fprintf(&text, "CONSTANTS\n  Mode = %q\n  Faults = %d\n  Kinds = {%s}\n  Without = %q\n", c.mode, c.faults, kinds, without)
	if c.records > 0 {
		fmt.Fprintf(&text, "  Records = %d\n", c.records)
	}
	text.WriteString("SPECIFICATION Spec\nVIEW vars\nCHECK_DEADLOCK FALSE\n")
	for promise := range strings.FieldsSeq(c.promises) {
		directive := "INVARIANT"
		if strings.Contains(inTheEnd, promise) || promise == onTheWay {
			directive = "PROPERTY"
		}
		fmt.Fprintf(&text, "%s %s\n", directive, promise)
	}

	return text.String()
}

// judge returns an error if the checker has not found what the check is for.
func (c check) judge(r result) error {
	switch {
	case !c.broken && r.broken != "":
		return fmt.Errorf("%s is broken: %s", r.broken, r.story())
	case c.broken && c.promises == "":
		return fmt.Errorf("nobody says which promise is broken without %s", c.without)
	case c.broken && r.broken != c.promises:
		return fmt.Errorf("%s is not broken", c.promises)
	default:
		return nil
	}
}
