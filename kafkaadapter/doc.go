// Package kafkaadapter consumes Kafka topics through package idem, so that each record takes
// effect exactly once in PostgreSQL. It stands on segmentio/kafka-go.
//
// A Consumer is a member of a consumer group. Config says where the records come from, and
// consume.Config what is done with them; package consume says what is promised.
//
// # Why not kafka.Reader
//
// Reader commits late acknowledgements under whatever generation is current, which sets
// committed offsets back without an error, delivers the records of aborted transactions, and
// stops for ever at batches that compaction has thinned out. This package takes part in the group
// and fetches by itself.
package kafkaadapter
