// Package idem makes the processing of events idempotent: each event takes effect exactly
// once for each consumer, however often it is delivered and by however many processes.
//
// The claim of an event is an INSERT … ON CONFLICT DO NOTHING in the same PostgreSQL
// transaction as the business writes:
//
//	BEGIN; claim the event
//	    0 rows: somebody committed it before → ROLLBACK → AlreadyProcessed
//	    1 row:  the handler's writes → COMMIT → Processed
//
// Both take effect together or not at all, so a crash at any point leaves either a processed
// event or one that nobody has touched. Two processes that claim one event at the same time
// are ordered by the unique index: the second waits until the first commits (and then has
// nothing to do) or rolls back (and then processes the event itself).
//
// # What is promised
//
//   - What a handler does through the transaction that it is given takes effect exactly once
//     for each consumer and event id within the retention.
//   - No outcome is guessed. If the connection is lost during COMMIT, the claim's own id tells on
//     another connection whether it took effect. If that cannot be found out, the error is
//     ErrOutcomeUnknown.
//   - A record of a partition takes effect once for ever if the same transaction advances a
//     checkpoint (Acquire, Owner.Process). Only the partition's latest owner can advance it.
//   - A batch has the effect of its events one by one.
//   - A missing or invalid event id is always an error.
//
// # What is not
//
//   - What a handler does outside the transaction (mails, calls to other systems) may be
//     repeated: the handler runs again after a transient error or a crash.
//   - An event that is delivered again after its consumer's retention runs again.
//   - Events with the same id are the same event. Choose ids that producers repeat on a retry
//     and never use twice.
//
// # Use
//
// Create the tables with "idemctl migrate up" or package schema/migrate, make one Guard for each consumer
// with New, and call Guard.ProcessIfNew for each event, Guard.ProcessBatch for many, or Guard.ClaimTx
// inside transactions of your own. To process the partitions of a log, get an Owner for each with
// Guard.Acquire, or with Guard.Unfenced if no checkpoint is kept, and call its methods. For Kafka,
// package kafkaadapter makes these calls. Run a Cleaner to forget old events, with Kafka too. Hooks watch
// all of it.
package idem
