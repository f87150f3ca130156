// Package consume defines what a consumer does with Kafka's records: what a handler gets, which
// records are the same event, and what happens when something fails. It imports no Kafka client. An
// adapter fetches the records and joins the group: package kafkaadapter on segmentio/kafka-go,
// module franzadapter on twmb/franz-go.
//
// For each record of the partitions that a consumer is assigned its Handler runs in a transaction
// that also claims the record's event id (EventID) and advances the partition's checkpoint. The
// offset is committed to Kafka only after that transaction, and only by the generation of the group
// that processed the record, so that a late commit cannot set the group back.
//
// # What is promised
//
//   - No record is lost: an offset is committed only when all records before it are processed,
//     or stored as dead letters.
//   - A record takes effect once, whatever is killed, frozen, rebalanced or delivered again, and
//     however late (Mode says how the record is recognized).
//   - An event that is produced again does not take effect again within the consumer's
//     retention.
//   - The records of a partition are processed one by one in their order; with Config.Lanes those
//     of one key are. PostgreSQL refuses a member that has lost a partition without knowing. (With
//     lanes, or in Mode ByEventID, records that it may still process are recognized by their event
//     ids.)
//   - Records of aborted transactions are not delivered.
//   - A record that cannot be processed is stored whole, in the transaction that marks its event, and
//     can be replayed ("idemctl deadletter"). With another FailureConfig.Policy, Run ends instead.
//   - A log that has lost records, or was replaced by another one, never counts as the old log
//     silently.
//
// # What is not
//
// The limits of package idem apply: effects outside the transaction can be repeated, and events
// that are produced again after the retention run again.
package consume
