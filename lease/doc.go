// Package lease runs effects outside the transaction, such as a card charged or a mail sent: one attempt at a time for
// each event, with a memory. PostgreSQL cannot undo what another system has done, so no tool makes such an effect
// exactly once by itself. A lease keeps two processes from one effect at the same time, stores what the effect
// returned, and leaves an effect of unknown outcome to somebody's decision:
//
//	acquire  INSERT or take over the lease of the event, with a token    (COMMIT)
//	run      the function; meanwhile the lease is extended               (heartbeat)
//	complete claim the event, delete the lease if it has the token,
//	         store the result, and the caller's own writes               (COMMIT)
//
// # What is promised
//
//   - At most one token is live for an event of a consumer. The database's clock alone decides that, never a process's.
//   - An event is completed only under its live token, in the transaction that claims it. Whose lease was taken over
//     cannot complete it.
//   - The number of attempts is stored before the function runs (Attempt.Number): there were never more effects than
//     that.
//   - An event is never forgotten within its consumer's retention. A crash at any line leaves no lease, a lease that
//     ends, or a completed event. A lease that waits for an operator is kept for ever.
//   - No outcome is guessed. An attempt that may have taken effect is run again only if Config.Unknown says so, or an
//     operator does ("idemctl lease decide"). A COMMIT without an answer is resolved as by an idem.Guard.
//
// # What is not
//
//   - The effect can happen twice with Rerun, unless the other system recognizes Attempt.Key: a process can crash
//     between the effect and the completion.
//   - A function that goes on when its context has ended can overlap with the next attempt.
//   - Within the transaction no lease is needed: use idem.Guard.ProcessIfNew.
//
// docs/effects.md tells which tool is for which effect, and what happens after a crash at which place.
//
// # Use
//
// Make one Leases for each operation with New, on a guard with a consumer of its own, and call Leases.Do, or DoJSON, for
// each event. Several effects in one event are steps (Attempt.Step, StepJSON). The results are remembered for the
// retention of the guard's consumer, and an idem.Cleaner removes them with the claims.
package lease
