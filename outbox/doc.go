// Package outbox sends records to Kafka from within a PostgreSQL transaction: Publish writes them into a table
// in the caller's transaction, and a Relay takes them to Kafka. It is for handlers of package consume, which
// get a transaction, and for any other code that has one.
//
// # What is promised
//
//   - A record comes to Kafka if and only if its transaction commits.
//   - It is forgotten only after Kafka has acknowledged it on all in-sync replicas.
//   - A record can come more than once: after a crash, or if an answer of Kafka or PostgreSQL is lost. Each time
//     it has the same event id, in a header, by which a guard downstream recognizes it.
//   - Records of one topic and key come in the order of their publication within a transaction, and in the order of
//     the commits of transactions that exclude one another before they publish, for instance because
//     they lock the same row. That order is the one in which they come first; repetitions can follow. Of transactions that do not exclude one another the order is not defined.
//   - A transaction that stays open delays no other's records.
//
// See docs/outbox.md for how it works and how to operate it.
package outbox
