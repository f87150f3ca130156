package main

import (
	"crypto/rand"
	"encoding/binary"
	mathrand "math/rand/v2"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// The kinds of event ids.
const (
	uuid4    = "uuid4"
	uuid7    = "uuid7"
	stringID = "string"
)

// load is what the events are like.
type load struct {
	IDs        string `json:"ids"`
	Duplicates int    `json:"duplicates_percent"`
	Prefilled  int64  `json:"prefilled_rows"`
}

var baseLoad = load{IDs: uuid4}

// event is a payment.
type event struct {
	ID        string
	Account   int32
	Partition int32 // of the record that it came with
	Amount    int64
}

// remembered is how many of its events a stream can deliver again.
const remembered = 10_000

// stream makes the events of one worker. They change accounts that no other worker does, as
// those of one partition of Kafka do if they are keyed by account.
type stream struct {
	load     load
	source   *mathrand.ChaCha8
	random   *mathrand.Rand
	worker   int
	workers  int
	accounts int
	made     int
	recent   []string // delivered, and processed
	next     int      // in recent, to be overwritten
}

func newStream(l load, worker, workers, accounts int) *stream {
	var seed [32]byte
	_, _ = rand.Read(seed[:]) // It never fails.
	source := mathrand.NewChaCha8(seed)

	return &stream{load: l, source: source, random: mathrand.New(source), worker: worker, workers: workers, accounts: accounts} //nolint:gosec // Not a secret.
}

// fill makes events. Duplicates are of earlier calls.
func (s *stream) fill(events []event) {
	fresh := 0
	for i := range events {
		e := event{
			Account: int32(s.random.IntN(s.accounts/s.workers)*s.workers + s.worker), //nolint:gosec // There are fewer.
			Amount:  int64(1 + s.random.IntN(100)),
		}
		if len(s.recent) > 0 && s.random.IntN(100) < s.load.Duplicates {
			e.ID = s.recent[s.random.IntN(len(s.recent))]
		} else {
			e.ID = s.id()
			events[i], events[fresh] = events[fresh], e
			fresh++

			continue
		}
		events[i] = e
	}
	if s.load.Duplicates == 0 {
		return
	}
	for _, e := range events[:fresh] {
		if len(s.recent) < remembered {
			s.recent = append(s.recent, e.ID)
		} else {
			s.recent[s.next] = e.ID
			s.next = (s.next + 1) % remembered
		}
	}
	s.random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
}

func (s *stream) id() string {
	s.made++
	if s.load.IDs == stringID {
		return "orders-" + strconv.Itoa(s.worker) + "-" + strconv.FormatUint(s.random.Uint64(), 36) + "-" + strconv.Itoa(s.made)
	}
	var id uuid.UUID
	_, _ = s.source.Read(id[:]) // It never fails.
	version := byte(4)
	if s.load.IDs == uuid7 {
		version = 7
		var now [8]byte
		binary.BigEndian.PutUint64(now[:], uint64(time.Now().UnixMilli()))
		copy(id[:6], now[2:])
	}
	id[6] = id[6]&0x0f | version<<4
	id[8] = id[8]&0x3f | 0x80

	return id.String()
}
