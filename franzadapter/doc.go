// Package franzadapter consumes Kafka topics through package idem, so that each record takes effect
// exactly once in PostgreSQL. It uses twmb/franz-go.
//
// A Consumer is a member of a consumer group. Config is where the records come from, consume.Config is
// what the consumer does with them, and package consume documents what is promised. Groups are
// cooperative by default: partitions that stay with a member are not interrupted by a rebalance.
//
// # What franz-go does here, and what it does not
//
// The kgo.Client handles the connections, the requests and the membership in the group. It never
// fetches by itself and commits nothing: its cursors know no checkpoint, it skips records whose
// batch ends too early, and its buffer does not consider which partition is slow. This package asks
// each broker in one request for the partitions that have room, and decodes the answer partition by
// partition.
package franzadapter
