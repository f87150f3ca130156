// Package franzadapter consumes Kafka topics through package idem, so that each record takes effect
// exactly once in PostgreSQL. It stands on twmb/franz-go.
//
// A Consumer is a member of a consumer group. Config says where the records come from, and
// consume.Config what is done with them; package consume says what is promised. Groups are cooperative
// by default: partitions that stay with a member are not interrupted by a rebalance.
//
// # What franz-go does here, and what it does not
//
// The kgo.Client has the connections, the requests and the place in the group. It never fetches by
// itself and commits nothing: its cursors know no checkpoint, it skips records whose batch ends too
// early, and it buffers without regard to which partition is slow. This package asks each broker for
// the partitions that have room, in one request, and decodes what comes partition by partition.
package franzadapter
