// Package idemtest tests the handlers of a service: it delivers their events twice, at the same time, and
// around crashes, as production does sooner or later, and reports what the handlers do wrong.
//
// Only Kafka is simulated. The database is a PostgreSQL server (Pool), the guard is the service's own,
// connections are really cut, and records go through the engine of the adapters (Consume).
//
// Begin with Check, which tries all of this:
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
// Use Records instead of Events for a consumer, with a handler of any form, and Calls for a service that
// claims in other ways. Check finds handlers that
//
//   - write through the pool instead of tx, or outside their transaction in another way
//   - return nil after a failed statement, which has aborted the transaction
//   - use tx after they have returned
//   - do something else when they run again, after a crash for instance
//   - do again what Subject.Outside counts: mails, calls to other systems
//   - fail when an event comes twice, or at several places at once
//
// The other functions are for tests of a service's own: Pool, Consume, Crash and Race deliver events, and
// Processed, ProcessedOnce, NotProcessed and DeadLettered check what became of them.
//
// # What it does not find
//
// Check reads the tables of one database. It sees what a handler does elsewhere only if Outside counts it. It does
// not find a wrong result that is the same each time: test the business logic as usual. Guards must have their
// tables in the schema idem.
//
// The package is for tests on Linux and macOS.
package idemtest
