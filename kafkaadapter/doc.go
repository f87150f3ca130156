// Package kafkaadapter consumes Kafka topics through package idem, so that each record takes
// effect exactly once in PostgreSQL.
//
// A Consumer is a member of a consumer group. For each record of the partitions that it is
// assigned it takes an event id (see EventID) and has Guard.ProcessIfNew run the Handler in
// the transaction that claims that id. The offset is committed to Kafka only after that
// transaction, and only by the generation of the group that processed the record, so that a
// late commit cannot set the group back.
//
// # What is promised
//
//   - No record is lost: an offset is committed only when all records before it are processed.
//   - No event takes effect twice within the consumer's retention, whatever is killed,
//     rebalanced, delivered again or produced again.
//   - The records of a partition are processed one by one in their order. (During a rebalance
//     the former owner may still be busy with a record that the new one waits for.)
//   - Records of aborted transactions are not delivered.
//   - A record that cannot be processed ends Run with a *RecordError. It is neither skipped
//     nor lost.
//
// # What is not
//
// What package idem does not promise: effects outside the transaction can be repeated, events
// that come again after the retention run again.
//
// # Why not kafka.Reader
//
// Reader commits late acknowledgements under whatever generation is current, which sets
// committed offsets back without an error, delivers the records of aborted transactions, and
// stops for ever at batches that compaction has thinned out. This package uses kafka-go's
// ConsumerGroup for the membership and fetches by itself.
package kafkaadapter
