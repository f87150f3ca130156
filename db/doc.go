// Package db is the typed store that sqlc generates from queries/ and schema/; run
// "make generate" after a change there and never edit it by hand.
//
// Do not import it. It is an implementation detail of packages idem, lease, outbox and ops, not covered by semantic
// versioning: any release may change or remove all of it. Services use idem, lease and outbox, operators ops;
// "make verify" holds the packages of this module to that.
package db
