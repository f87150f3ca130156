// Package ops is for operators of the guard's tables: it looks at them, replays and discards dead
// letters, resets checkpoints, renames and deletes consumers, and imports an old table. The command
// idemctl is built on it; a web console or a health check can be, too. Services use package idem.
//
// A Client works on one PostgreSQL schema of one database. It connects neither to Kafka nor to services: running
// consumers notice by themselves what it changes in the tables. Only Diagnose looks at Kafka, through a function of
// the caller.
//
// # Plan, then act
//
// An operation that loses or repeats something has two calls. The first (Plan…) changes nothing and
// returns what the second one would do, so that the caller can ask somebody in between. The second call
// looks again: it does not touch what others have changed meanwhile, and reports that.
//
// # Results
//
// Results are plain structs. Their JSON is what "idemctl --json" prints, and stable: names in snake_case,
// empty lists as [], times in RFC 3339, durations as numbers of seconds.
//
// A call that works through many rows commits in parts. If it fails or its context ends, it returns the
// error together with what was done until then (field Complete is false), which stays done. Call it again
// to continue. If it fails before it has begun, the result is zero. A Progress function is called with
// how far it has come.
//
// # Rights
//
// The rights that schema.Grants gives to a service are enough, except for SetRetention, RenameConsumer,
// DeleteConsumer, Migrations, PlanMigration and Migrate, which need the role that owns the tables.
package ops
