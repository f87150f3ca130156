package idem

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// DeadLetterState is the state of a dead letter.
type DeadLetterState string

// String returns the state as the table has it.
func (s DeadLetterState) String() string { return string(s) }

// The states. An operator moves a dead letter from open to replay or discarded ("idemctl
// deadletter").
const (
	DeadLetterOpen       DeadLetterState = "open"
	DeadLetterParked     DeadLetterState = "parked" // it waits for an earlier one of the same key
	DeadLetterReplay     DeadLetterState = "replay" // to be processed again
	DeadLetterReplayed   DeadLetterState = "replayed"
	DeadLetterDiscarded  DeadLetterState = "discarded"
	DeadLetterSuperseded DeadLetterState = "superseded" // its event was processed by another delivery
	DeadLetterExpired    DeadLetterState = "expired"    // requested, but no longer in Kafka, or another one in its place
)

// DeadLetter is a record that could not be processed, whole.
type DeadLetter struct {
	ID        uuid.UUID // version 7; StoreDeadLetter makes one if it is zero
	State     DeadLetterState
	Partition Partition // set by StoreDeadLetter to the owner's
	Offset    int64

	// LastOffset is the offset of the last record, for a dead letter that stands for several records.
	// StoreDeadLetter advances the checkpoint over it. It is not stored. Default Offset.
	LastOffset int64

	// Fingerprint is stored with the mark of the event, as Event.Fingerprint with a claim. NextDeadLetter does not
	// return it.
	Fingerprint Fingerprint

	Time      time.Time // of the record; may be zero
	Key       []byte
	Value     []byte
	Headers   []DeadLetterHeader
	EventID   string    // empty if the record has none; if it is Requested that which was asked for, empty if the place was
	ClaimID   uuid.UUID // that marked the event, set by StoreDeadLetter
	Attempts  int       // that failed
	Starts    int       // replays that have begun and not ended, with the one at hand
	Copied    bool      // somebody has made a copy elsewhere
	Requested bool      // the record is to be read from the log first (FillDeadLetter)
	Error     string

	key uuid.UUID // under which the event is marked; zero in one that is not stored yet
}

// DeadLetterHeader is a header of a record.
type DeadLetterHeader struct {
	Key   string
	Value []byte
}

// eventID is the id under which the dead letter is claimed. Without one of its own it is made of the
// record's place and all its content: a log that was truncated has other records in the same places.
func (l *DeadLetter) eventID() string {
	if l.EventID != "" {
		return l.EventID
	}
	content := sha256.New()
	add := func(field []byte) {
		content.Write(binary.BigEndian.AppendUint64(nil, uint64(len(field))))
		content.Write(field)
	}
	add(l.Key)
	add(l.Value)
	for _, h := range l.Headers {
		add([]byte(h.Key))
		add(h.Value)
	}
	add(binary.BigEndian.AppendUint64(nil, uint64(l.Time.UnixMicro())))

	return l.Partition.place(l.Offset) + " " + hex.EncodeToString(content.Sum(nil)[:8])
}

// insertParams are those of a dead letter that is stored by a call.
func (l *DeadLetter) insertParams(consumer int64, c call) db.DeadLetterInsertParams {
	p := db.DeadLetterInsertParams{
		ConsumerID: consumer, ID: l.ID, State: string(l.State), Topic: l.Partition.Topic, RecordPartition: l.Partition.Number, RecordOffset: l.Offset,
		Key: c.key, ClaimID: nullable(c.claimID), TopicID: l.Partition.TopicID,
		Attempts: int32(l.Attempts), Copied: l.Copied, Error: tables.CleanText(l.Error), //nolint:gosec // Nobody tries that often.
		RecordTime: timestamptz(l.Time), RecordKey: l.Key, RecordValue: l.Value,
	}
	p.HeaderKeys, p.HeaderValues = headerArrays(l.Headers)
	if l.Key != nil {
		hash := keyHash(l.Key)
		p.KeyHash = &hash
	}
	if l.EventID != "" {
		p.EventID = &l.EventID
	}

	return p
}

func headerArrays(headers []DeadLetterHeader) (keys, values [][]byte) {
	keys, values = make([][]byte, len(headers)), make([][]byte, len(headers))
	for i, h := range headers {
		keys[i], values[i] = []byte(h.Key), h.Value
	}

	return keys, values
}

func newDeadLetter(row db.DeadLetterNextRow) DeadLetter {
	l := DeadLetter{
		ID: row.ID, State: DeadLetterState(row.State),
		Partition: Partition{Topic: row.Topic, Number: row.RecordPartition, TopicID: row.TopicID}, Offset: row.RecordOffset,
		Key: row.RecordKey, Value: row.RecordValue, key: row.Key,
		Requested: row.HeaderKeys == nil, ClaimID: row.ClaimID.UUID, Attempts: int(row.Attempts), Starts: int(row.Starts), Copied: row.Copied, Error: row.Error,
	}
	if row.RecordMicros != math.MinInt64 {
		l.Time = time.UnixMicro(row.RecordMicros)
	}
	if row.EventID != nil {
		l.EventID = *row.EventID
	}
	for i, key := range row.HeaderKeys[:min(len(row.HeaderKeys), len(row.HeaderValues))] {
		l.Headers = append(l.Headers, DeadLetterHeader{Key: string(key), Value: row.HeaderValues[i]})
	}

	return l
}

// timestamptz is null for a time that PostgreSQL, or JSON, does not hold: a producer may send any.
func timestamptz(t time.Time) pgtype.Timestamptz {
	year := t.UTC().Year()

	return pgtype.Timestamptz{Time: t, Valid: !t.IsZero() && year >= 1 && year < 10_000}
}
