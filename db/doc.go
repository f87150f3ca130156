// Package db is the typed store that sqlc generates from queries/ and schema/; run
// "make generate" after a change there and never edit it by hand.
//
// It is an implementation detail of this module and not covered by semantic versioning:
// services use package idem.
package db
