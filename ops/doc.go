// Package ops is what operators do with the guard's tables: look at them, decide about dead letters,
// reset checkpoints, rename and delete consumers, import an old table. The command idemctl is made of
// it; a web console or a health check can be. Services use package idem.
//
// A Client works on one PostgreSQL schema of one database. It neither knows Kafka nor talks to services: what it
// changes in the tables, the running consumers notice by themselves. Diagnose alone asks Kafka, through a function of
// the caller.
//
// # Plan, then act
//
// What loses or repeats something comes in two calls. The first (Plan…) changes nothing and returns what
// the second one would do, so that somebody can be asked in between. The second call looks again: what
// others have changed meanwhile it leaves alone, and says so.
//
// # Results
//
// Results are plain structs. Their JSON is what "idemctl --json" prints, and stable: names in snake_case,
// empty lists as [], times in RFC 3339, durations as numbers of seconds.
//
// A call that works through many rows commits in parts. If it fails or its context ends, it returns the
// error together with what is done until then (field Complete is false), which stays done. Calling it
// again goes on. If it fails before it has begun, the result is zero. A Progress function is told how far
// it has come.
//
// # Rights
//
// The rights that schema.Grants gives to a service are enough, except for SetRetention, RenameConsumer,
// DeleteConsumer, Migrations, PlanMigration and Migrate, which need the role that owns the tables.
package ops
