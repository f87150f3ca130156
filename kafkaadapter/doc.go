// Package kafkaadapter consumes Kafka topics through package idem, so that each record takes
// effect exactly once in PostgreSQL.
//
// A Consumer is a member of a consumer group. For each record of the partitions that it is
// assigned it runs the Handler in a transaction that also claims the record's event id (see
// EventID) and advances the partition's checkpoint. The offset is committed to Kafka only after
// that transaction, and only by the generation of the group that processed the record, so that
// a late commit cannot set the group back.
//
// # What is promised
//
//   - No record is lost: an offset is committed only when all records before it are processed,
//     or stored as dead letters.
//   - A record takes effect once, whatever is killed, frozen, rebalanced or delivered again,
//     and however late (Mode says by what it is known).
//   - An event that is produced again does not take effect again within the consumer's
//     retention.
//   - The records of a partition are processed one by one in their order; with Config.Lanes those
//     of one key are. A member that has lost a partition without knowing is refused by PostgreSQL
//     (with lanes, or in Mode ByEventID, what it may still process is known by its event id).
//   - Records of aborted transactions are not delivered.
//   - A record that cannot be processed is stored whole, in the transaction that marks its
//     event, and can be replayed ("idemctl deadletter"). Config.OnFailure can have Run end instead.
//   - A log that has lost records, or has become another one, is never taken for the old one
//     silently.
//
// # What is not
//
// What package idem does not promise: effects outside the transaction can be repeated, events
// that are produced again after the retention run again.
//
// # Why not kafka.Reader
//
// Reader commits late acknowledgements under whatever generation is current, which sets
// committed offsets back without an error, delivers the records of aborted transactions, and
// stops for ever at batches that compaction has thinned out. This package uses kafka-go's
// ConsumerGroup for the membership and fetches by itself.
package kafkaadapter
