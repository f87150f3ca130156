// Package idemtest tests the handlers of a service: it delivers their events twice, at the same time, and
// around crashes, as production does sooner or later, and says what they do wrong.
//
// Nothing is simulated but Kafka. The database is a PostgreSQL server (Pool), the guard is the service's own,
// connections are really cut, and records go through the engine of the adapters (Consume).
//
// Begin with Check, which tries everything:
//
//	func TestCharge(t *testing.T) {
//		idemtest.Check(t, func(pool *pgxpool.Pool) idemtest.Subject {
//			createTables(t, pool)
//			service := NewService(pool)
//
//			return idemtest.Events(service.Guard,
//				idemtest.Event{ID: "payment-1", Handle: service.Charge("payment-1")},
//				idemtest.Event{ID: "payment-2", Handle: service.Charge("payment-2")})
//		})
//	}
//
// Records in place of Events makes it a consumer, with a handler of any form, and Calls a service that claims
// in other ways. Check finds handlers that
//
//   - write through the pool in place of tx, or otherwise outside their transaction
//   - return nil after a failed statement, which has aborted the transaction
//   - use tx after they have returned
//   - do something else when they run again, after a crash for instance
//   - do again what Subject.Outside counts: mails, calls to other systems
//   - fail when an event comes twice, or at several places at once
//
// The other functions are for tests of a service's own: Pool, Consume, Crash and Race make things happen,
// and Processed, ProcessedOnce, NotProcessed and DeadLettered say what has come of them.
//
// # What it does not find
//
// Check reads the tables of one database. What a handler does elsewhere is seen only if Outside counts it. A wrong
// result that is the same each time is not wrong to Check: test the business logic as any other. Guards have
// their tables in the schema idem.
//
// The package is for tests on Linux and macOS.
package idemtest
