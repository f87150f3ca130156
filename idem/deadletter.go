package idem

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/db"
)

// DeadLetterState says what is to become of a dead letter, or what did.
type DeadLetterState string

// The states. Somebody takes a letter from open to replay or discarded ("idemctl deadletter").
const (
	DeadLetterOpen       DeadLetterState = "open"
	DeadLetterParked     DeadLetterState = "parked" // it follows an open one of the same key
	DeadLetterReplay     DeadLetterState = "replay" // to be processed again
	DeadLetterReplayed   DeadLetterState = "replayed"
	DeadLetterDiscarded  DeadLetterState = "discarded"
	DeadLetterSuperseded DeadLetterState = "superseded" // another claim of the event counts since
)

// DeadLetter is a record that could not be processed, whole.
type DeadLetter struct {
	ID        int64 // given by the database
	State     DeadLetterState
	Partition Partition
	Offset    int64
	Time      time.Time // of the record; may be zero
	Key       []byte
	Value     []byte
	Headers   []DeadLetterHeader
	EventID   string    // empty if the record has none
	ClaimID   uuid.UUID // that marked the event, set by StoreDeadLetter
	Attempts  int       // that failed
	Starts    int       // replays that have begun and not ended, with the one at hand
	Error     string
}

// DeadLetterHeader is a header of a record.
type DeadLetterHeader struct {
	Key   string
	Value []byte
}

// eventID is the id under which the letter is claimed.
func (l *DeadLetter) eventID() string {
	if l.EventID != "" {
		return l.EventID
	}

	return l.Partition.place(l.Offset)
}

// StoreDeadLetter marks the event of a record as processed and stores the record, in one
// transaction: it is not delivered again, and not lost. An event id that is not valid counts as
// none; with WithOwner such a letter is claimed by its place alone. If the event was
// processed before, nothing is stored.
func (g *Guard) StoreDeadLetter(ctx context.Context, letter DeadLetter, opts ...Option) (Outcome, error) {
	if validateEventID(letter.EventID) != nil {
		letter.EventID = ""
	}
	c, err := g.newCall(letter.eventID(), opts)
	if err != nil {
		return 0, err
	}
	if letter.EventID == "" && c.advances {
		c.key = uuid.Nil
	}
	params := letter.params(c.claimID)
	params.ConsumerID = g.consumer

	return g.process(ctx, c, func(ctx context.Context, tx pgx.Tx) error {
		_, err := g.queries.DeadLetterInsert(ctx, g.names.on(tx), params)
		if err != nil {
			return fmt.Errorf("store the dead letter: %w", explain(err))
		}

		return nil
	})
}

func (l *DeadLetter) params(claimID uuid.UUID) db.DeadLetterInsertParams {
	p := db.DeadLetterInsertParams{
		State: string(l.State), Topic: l.Partition.Topic, RecordPartition: l.Partition.Number, RecordOffset: l.Offset,
		ClaimID: claimID, TopicID: nullable(l.Partition.TopicID), Attempts: int32(l.Attempts), Error: cleanText(l.Error), //nolint:gosec // Nobody tries that often.
		RecordKey: l.Key, RecordValue: l.Value,
		HeaderKeys: make([][]byte, len(l.Headers)), HeaderValues: make([][]byte, len(l.Headers)),
	}
	if l.State == "" {
		p.State = string(DeadLetterOpen)
	}
	if !l.Time.IsZero() && l.Time.Year() < 10_000 {
		p.RecordTime = &l.Time
	}
	if l.EventID != "" {
		p.EventID = &l.EventID
	}
	for i, h := range l.Headers {
		p.HeaderKeys[i], p.HeaderValues[i] = []byte(h.Key), h.Value
	}

	return p
}

// NextDeadLetter returns the letter of a partition that is to be processed next: one that
// somebody wants replayed, or a parked one with nothing unresolved of its key before it. It
// returns ErrNotFound if there is none. Each call counts as a start of that letter's replay.
func (g *Guard) NextDeadLetter(ctx context.Context, p Partition) (DeadLetter, error) {
	var rows []db.DeadLetter
	err := g.onPool(ctx, func(conn db.DBTX) error {
		var err error
		rows, err = g.queries.DeadLetterNext(ctx, conn, db.DeadLetterNextParams{
			ConsumerID: g.consumer, Topic: p.Topic, RecordPartition: p.Number,
		})

		return err //nolint:wrapcheck // onPool wraps it.
	})
	if err != nil {
		return DeadLetter{}, err
	}
	if len(rows) == 0 {
		return DeadLetter{}, ErrNotFound
	}

	return newDeadLetter(rows[0]), nil
}

func newDeadLetter(row db.DeadLetter) DeadLetter {
	l := DeadLetter{
		ID: row.ID, State: DeadLetterState(row.State),
		Partition: Partition{Topic: row.Topic, Number: row.RecordPartition, TopicID: row.TopicID.UUID}, Offset: row.RecordOffset,
		Key: row.RecordKey, Value: row.RecordValue,
		ClaimID: row.ClaimID, Attempts: int(row.Attempts), Starts: int(row.Starts), Error: row.Error,
	}
	if row.RecordTime != nil {
		l.Time = *row.RecordTime
	}
	if row.EventID != nil {
		l.EventID = *row.EventID
	}
	for i, key := range row.HeaderKeys[:min(len(row.HeaderKeys), len(row.HeaderValues))] {
		l.Headers = append(l.Headers, DeadLetterHeader{Key: string(key), Value: row.HeaderValues[i]})
	}

	return l
}

// ReplayDeadLetter runs fn for a letter that NextDeadLetter returned and resolves the letter,
// in one transaction. The outcome is AlreadyProcessed if somebody else has resolved the letter,
// or if the event was forgotten and then processed by another delivery. Errors are as with
// ProcessIfNew; the letter is then as it was (ReopenDeadLetter).
func (g *Guard) ReplayDeadLetter(ctx context.Context, letter DeadLetter, fn Handler, opts ...Option) (Outcome, error) {
	c, err := g.newCall(letter.eventID(), opts)
	if err != nil {
		return 0, err
	}
	if c.advances {
		return 0, fmt.Errorf("%w: a replay moves no checkpoint, use WithHold", ErrInvalidConfig)
	}
	var outcome Outcome
	// A COMMIT without an answer needs no search for its outcome: the next try sees the letter.
	err = c.retry.do(ctx, g.log, func() error {
		outcome, err = g.replay(ctx, c, letter, fn)

		return err
	})

	return outcome, err
}

func (g *Guard) replay(ctx context.Context, c call, letter DeadLetter, fn Handler) (Outcome, error) {
	if err := g.register(ctx); err != nil {
		return 0, err
	}
	outcome := AlreadyProcessed
	err := g.begin(ctx, c, func(tx pgx.Tx, got claimed) error {
		conn, state := g.names.on(tx), DeadLetterReplayed
		if !got.isNew(c) {
			claimID, err := g.queries.EventLock(ctx, conn, db.EventLockParams{ConsumerID: g.consumer, Key: c.key})
			if err != nil && !errors.Is(err, pgx.ErrNoRows) {
				return fmt.Errorf("idem: look up claim: %w", explain(err))
			}
			if err == nil && claimID != letter.ClaimID {
				state = DeadLetterSuperseded
			}
		}
		n, err := g.queries.DeadLetterResolve(ctx, conn, db.DeadLetterResolveParams{State: string(state), ID: letter.ID})
		switch {
		case err != nil:
			return fmt.Errorf("idem: resolve the dead letter: %w", explain(err))
		case n == 0:
			return nil
		case state == DeadLetterSuperseded:
			return g.commit(ctx, tx, c)
		}
		if err := g.handle(ctx, tx, c, fn); err != nil {
			return err
		}
		if err := g.commit(ctx, tx, c); err != nil {
			return err
		}
		outcome = Processed

		return nil
	})
	if err != nil {
		return 0, err
	}

	return outcome, nil
}

// ReopenDeadLetter notes that a replay failed, after so many more attempts: the letter is open
// again, for somebody to decide.
func (g *Guard) ReopenDeadLetter(ctx context.Context, letter DeadLetter, attempts int, cause error) error {
	return g.onPool(ctx, func(conn db.DBTX) error {
		_, err := g.queries.DeadLetterFail(ctx, conn, db.DeadLetterFailParams{
			ID: letter.ID, Attempts: int32(attempts), Error: cleanText(cause.Error()), //nolint:gosec // Nobody tries that often.
		})

		return err //nolint:wrapcheck // onPool wraps it.
	})
}

// ParkedKeys returns the record keys of a partition's unresolved letters. Whoever keeps the
// order of a key's records parks the later ones behind them.
func (g *Guard) ParkedKeys(ctx context.Context, p Partition) ([][]byte, error) {
	var keys [][]byte
	err := g.onPool(ctx, func(conn db.DBTX) error {
		var err error
		keys, err = g.queries.DeadLetterParkedKeys(ctx, conn, db.DeadLetterParkedKeysParams{
			ConsumerID: g.consumer, Topic: p.Topic, RecordPartition: p.Number,
		})

		return err //nolint:wrapcheck // onPool wraps it.
	})

	return keys, err
}

// maxErrorBytes is how much of an error's text is stored.
const maxErrorBytes = 16 << 10

// cleanText makes of s what PostgreSQL takes for text.
func cleanText(s string) string {
	if len(s) > maxErrorBytes {
		s = s[:maxErrorBytes] + "…"
	}

	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
