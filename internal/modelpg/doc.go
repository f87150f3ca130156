// Package modelpg is a small PostgreSQL in memory, for the simulation of consumers (internal/simulation). It
// speaks the server's protocol over in-memory connections, so that the engine, package idem and pgx run as they
// are in a bubble of testing/synctest, where nothing may wait for a real network or a real clock.
//
// It has the tables consumers, checkpoints, processed_events and dead_letters, and executes the statements of
// package db that a consumer needs, known by their names, each with a few lines of Go. Transactions are READ
// COMMITTED: uncommitted rows are seen by their transaction alone, row locks, advisory locks and unique keys
// make others wait, lock_timeout and deadlocks end a wait, and a lost connection rolls back. TestSameAsPostgreSQL
// holds it to the real server: random statements of several sessions must get the same answers from both.
//
// Not modelled: other isolation levels, savepoints, constraints other than unique keys, prepared statements (use
// default_query_exec_mode=exec), jsonb (metadata are kept as text), roles, and that a deadlock is found after
// deadlock_timeout: here it is at once.
//
// A server can do what a test cannot ask of a real one: lose the latest commits (Rewind), end all sessions
// (Restart), and delay, refuse or cut off each exchange (Faults).
package modelpg
