// Package idemsql makes the claims of package idem in transactions of database/sql, for services that hold a *sql.Tx
// or use an ORM: GORM, bun, ent, sqlx. It works with pgx (package stdlib), lib/pq and bun's pgdriver.
//
// A Guard does what an idem.Guard does, with the same statements on the same tables, and returns the same outcomes and
// errors; claims of both exclude each other. Options are those of package idem.
//
//   - Guard.ProcessIfNew begins the transaction, claims the event, runs the handler with the *sql.Tx and commits. It
//     retries, and finds out what became of a COMMIT whose answer was lost. Prefer it.
//   - Guard.ClaimTx claims an event in a transaction of the caller's, who commits.
//   - InTx gives the handler of an idem.Guard, or of a Kafka consumer, a *sql.Tx that is the guard's own transaction.
//
// A service that uses pgxpool already needs only InTx.
package idemsql
