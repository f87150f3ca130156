// Package kafkaadapter consumes Kafka topics through package idem, so that each record takes effect
// exactly once in PostgreSQL. It uses segmentio/kafka-go.
//
// A Consumer is a member of a consumer group. Config is where the records come from, consume.Config
// is what the consumer does with them, and package consume documents what is promised.
//
// # Why not kafka.Reader
//
// Reader commits late acknowledgements under whatever generation is current, which sets committed
// offsets back without an error, delivers the records of aborted transactions, and stops for ever
// at batches from which compaction has removed records. This package joins the group and fetches
// with its own code.
package kafkaadapter
