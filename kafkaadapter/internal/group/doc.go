// Package group is a member of a Kafka consumer group: it joins, sends heartbeats, commits and
// leaves. It knows nothing of records.
//
// It speaks the classic protocol with eager rebalances and the range assignor, which every client
// knows, so that a group can have members of all kinds. Requests are encoded here, in the versions
// of Kafka 2.8: kafka-go lacks static members and stable offsets, and writes some versions wrongly.
//
// A Generation is the time between two rebalances. It ends when the coordinator says so, but the
// member stays in the group until it joins again or leaves: it goes on with heartbeats, so that
// what it has begun can be finished and committed.
package group
