//nolint:goconst // The names are those of outbox.tla.
package main

const relay = "relay"

var outboxHolds = []check{
	{name: "outbox", mode: relay, records: 2, promises: "NothingPassed InOrder NothingDropped"},
	{name: "outbox-crash", mode: relay, records: 2, faults: 2, kinds: "Crash", promises: "NothingPassed InOrder NothingDropped"},
}

var outboxMutants = []check{
	{without: "NumberFirst", mode: relay, records: 2, promises: "NothingPassed"},
	{without: "LowOfAnEarlierTurn", mode: relay, records: 2, promises: "NothingPassed"},
	{without: "DrawnBeforeNumber", mode: relay, records: 2, promises: "NothingPassed"},
	{without: "UnderWayLookedUp", mode: relay, records: 2, promises: "NothingPassed"},
	{without: "SnapshotKept", mode: relay, records: 2, promises: "NothingPassed"},
	{without: "OrderOfIDs", mode: relay, records: 2, promises: "InOrder"},
	{without: "DeletedBehindKafka", mode: relay, records: 2, faults: 1, kinds: "Crash", promises: "NothingDropped"},
}
