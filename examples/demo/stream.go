package main

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"github.com/google/uuid"
)

const (
	accounts       = 1_000
	openingBalance = 100_000 // cents

	// One event in duplicateEvery is produced twice: at once, as after a lost acknowledgement,
	// or up to maxDelay records later, as after the restart of a producer.
	duplicateEvery = 10
	maxDelay       = 5_000
)

// payment is one event: a credit or, if negative, a debit of an account.
type payment struct {
	ID      string `json:"-"` // travels in the record's header
	Account int    `json:"account"`
	Cents   int64  `json:"cents"`
}

// stream is what a producer sends. The same seed makes the same stream.
type stream struct {
	events  []payment // each distinct payment once
	records []payment // in the order of production, with the producer's duplicates
}

func newStream(seed uint64, events int) stream {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	source := rand.NewChaCha8(key)
	random := rand.New(source) //nolint:gosec // It must be repeatable.

	type production struct {
		payment

		at int
	}
	s := stream{events: make([]payment, events)}
	productions := make([]production, 0, events+events/duplicateEvery*2)
	for i := range s.events {
		id := uuid.Must(uuid.NewRandomFromReader(source)) // The source never fails.
		p := payment{ID: id.String(), Account: random.IntN(accounts), Cents: random.Int64N(20_000) - 10_000}
		s.events[i] = p
		productions = append(productions, production{p, i})
		switch random.IntN(2 * duplicateEvery) {
		case 0:
			productions = append(productions, production{p, i})
		case 1:
			productions = append(productions, production{p, i + 1 + random.IntN(maxDelay)})
		}
	}

	slices.SortStableFunc(productions, func(a, b production) int { return a.at - b.at })
	s.records = make([]payment, len(productions))
	for i, p := range productions {
		s.records[i] = p.payment
	}

	return s
}
