package idem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/db"
)

// chunk is how many events one statement claims or forgets.
const chunk = 1000

// Record is a processed event as the database has it.
type Record struct {
	EventID string
	// Key is Key(EventID).
	Key uuid.UUID
	// ClaimID is the claim that processed it, a UUIDv7: it holds the time of the call by the
	// clock of the machine that made it.
	ClaimID uuid.UUID
	// ProcessedAt is the start of the transaction that processed it, by the clock of the
	// database. Retention counts from here.
	ProcessedAt time.Time
	// Metadata is a JSON object, or nil if none was given.
	Metadata json.RawMessage
}

// IsProcessed reports whether a committed transaction processed the event. Use it for people and
// reports only. To decide whether to process an event, use ProcessIfNew or ClaimTx: after this
// answer, another process may process the event before you do.
func (g *Guard) IsProcessed(ctx context.Context, eventID string) (bool, error) {
	_, err := g.Lookup(ctx, eventID)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}

	return err == nil, err
}

// Lookup returns who processed the event and when. It returns ErrNotFound if nobody did, or if the
// event is forgotten.
func (g *Guard) Lookup(ctx context.Context, eventID string) (Record, error) {
	if err := CheckEventID(eventID); err != nil {
		return Record{}, err
	}
	var event db.EventGetRow
	err := g.onPool(ctx, func(conn db.DBTX) error {
		var err error
		event, err = g.queries.EventGet(ctx, conn, db.EventGetParams{ConsumerID: g.consumer, Key: Key(eventID)})

		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return Record{}, ErrNotFound
	}
	if err != nil {
		return Record{}, err
	}

	return Record{
		EventID: eventID, Key: event.Key, ClaimID: event.ClaimID, ProcessedAt: time.UnixMicro(event.ProcessedMicros), Metadata: event.Metadata,
	}, nil
}

// MarkAllProcessed marks many events as processed, 1,000 to a statement, and returns how many were
// not marked before. Use it to import the events that another system has processed. If it fails
// half way, or a connection is lost, it is safe to call it again; the count may then be too low.
func (g *Guard) MarkAllProcessed(ctx context.Context, eventIDs []string) (int64, error) {
	keys, err := distinctKeys(eventIDs)
	if err != nil {
		return 0, err
	}
	if err := g.noneWithin(ctx, len(eventIDs), func(i int) string { return eventIDs[i] }); err != nil {
		return 0, err
	}
	var marked int64
	for len(keys.keys) > 0 {
		part := keys.take(chunk)
		claimID, err := uuid.NewV7()
		if err != nil {
			return marked, fmt.Errorf("idem: make a claim id: %w", err)
		}
		var rows []db.EventClaimRow
		err = g.onPool(ctx, func(conn db.DBTX) error {
			var err error
			rows, err = g.queries.EventClaim(ctx, conn, db.EventClaimParams{
				ConsumerID: g.consumer, ClaimID: claimID.String(),
				Keys: part.keys, EventIds: part.eventIDs, Metadata: part.metadata, Fingerprints: part.fingerprints,
			})

			return err
		})
		if err != nil {
			return marked, err
		}
		marked += rows[0].Claimed
	}

	return marked, nil
}

// Forget makes events claimable again, so that they are processed when they are next delivered. It
// returns how many of them were known. Unknown events are not an error. If a connection is lost,
// the count may be too low.
func (g *Guard) Forget(ctx context.Context, eventIDs ...string) (int64, error) {
	keys, err := distinctKeys(eventIDs)
	if err != nil {
		return 0, err
	}
	var forgotten int64
	for len(keys.keys) > 0 {
		part := keys.take(chunk)
		err := g.onPool(ctx, func(conn db.DBTX) error {
			n, err := g.queries.EventForget(ctx, conn, db.EventForgetParams{ConsumerID: g.consumer, Keys: part.keys})
			forgotten += n

			return err
		})
		if err != nil {
			return forgotten, err
		}
	}

	return forgotten, nil
}

// onPool runs one statement for the registered consumer, with retries.
func (g *Guard) onPool(ctx context.Context, statement func(conn db.DBTX) error) error {
	return g.retried(ctx, func() error { return g.onConn(ctx, statement) })
}

// retried runs statements of a registered consumer by the guard's policy.
func (g *Guard) retried(ctx context.Context, run func() error) error {
	if err := g.check(); err != nil {
		return err
	}

	return g.config.Retry.do(ctx, &g.retries, func() error {
		if err := g.register(ctx); err != nil {
			return err
		}

		return prefixed(run())
	})
}

// prefixed says that an error comes from this package, unless it does so itself.
func prefixed(err error) error {
	if err == nil || strings.HasPrefix(err.Error(), "idem: ") {
		return err
	}

	return fmt.Errorf("idem: %w", err)
}

// keyed are events by their keys, without duplicates, as the claim statement wants them. The
// event ids, metadata and fingerprints end with the last one that is not empty.
type keyed struct {
	keys     []string
	eventIDs []string
	metadata []string

	fingerprints []int64
}

func distinctKeys(eventIDs []string) (keyed, error) {
	seen := make(map[uuid.UUID]struct{}, len(eventIDs))
	var all keyed
	for i, id := range eventIDs {
		if err := CheckEventID(id); err != nil {
			return keyed{}, fmt.Errorf("event %d: %w", i+1, err)
		}
		key := Key(id)
		if _, ok := seen[key]; ok {
			continue
		}
		seen[key] = struct{}{}
		all.add(key, id, "", 0)
	}

	return all, nil
}

// take cuts off and returns the first n.
func (k *keyed) take(n int) keyed {
	var part keyed
	part.keys, k.keys = split(k.keys, n)
	part.eventIDs, k.eventIDs = split(k.eventIDs, n)
	part.metadata, k.metadata = split(k.metadata, n)
	part.fingerprints, k.fingerprints = split(k.fingerprints, n)

	return part
}

func split[T any](all []T, n int) (first, rest []T) {
	n = min(n, len(all))

	return all[:n], all[n:]
}

func (k *keyed) add(key uuid.UUID, eventID, metadata string, fingerprint Fingerprint) {
	k.fingerprints = appendAt(k.fingerprints, len(k.keys), int64(fingerprint))
	k.eventIDs = appendAt(k.eventIDs, len(k.keys), storedEventID(eventID))
	k.metadata = appendAt(k.metadata, len(k.keys), metadata)
	k.keys = append(k.keys, key.String())
}

// appendAt puts a value at index i, unless it is the zero value.
func appendAt[T comparable](to []T, i int, value T) []T {
	var zero T
	if value == zero {
		return to
	}

	return append(append(to, make([]T, i-len(to))...), value)
}
