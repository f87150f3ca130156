package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
)

// The tables in which handlers write, and what they write for a record.
const (
	createTables = `
		CREATE TABLE public.effects (seq bigint GENERATED ALWAYS AS IDENTITY, event_id text, topic text, "partition" int, "offset" bigint,
			key text, reign text, letter text);
		CREATE TABLE public.counted (n int);
		CREATE TABLE public.stock (id int PRIMARY KEY, n int);
		INSERT INTO public.stock SELECT id, 0 FROM generate_series(0, 7) AS id`

	insertEffect = `INSERT INTO public.effects (event_id, topic, "partition", "offset", key, reign, letter) VALUES ($1, $2, $3, $4, $5, $6, $7)`
	insertCount  = `INSERT INTO public.counted VALUES (1)`
	updateStock  = `UPDATE public.stock SET n = n + 1 WHERE id = $1`
)

// poison is in the value of a record that fails until its dead letter is replayed.
var poison = []byte(`"poison"`)

var (
	errPoison  = errors.New("the record is poison")
	errAtTimes = errors.New("the handler fails at times")
)

// handlers are those of a worker, with its character.
type handlers struct {
	character

	pool    *pgxpool.Pool
	watcher *watcher

	mu   sync.Mutex
	kept []consume.Message // of a worker that keeps what it was given
}

// config gives the handler to a consumer.
func (h *handlers) config(c consume.Config) consume.Config {
	switch h.Form {
	case ownTransactions:
		c.Handle, c.OwnTransactions = h.handle, true
	case shared:
		c.Handle = h.handle
	case lanes:
		c.Handle, c.Lanes.Count = h.handle, 4
	case queue:
		c.HandleQueue = h.queue
	default:
		c.HandleBatch = h.batch
	}

	return c
}

func (h *handlers) handle(ctx context.Context, tx pgx.Tx, m consume.Message) error {
	if err := h.write(ctx, tx, m); err != nil {
		return err
	}

	return h.misbehave(ctx, tx)
}

func (h *handlers) batch(ctx context.Context, tx pgx.Tx, batch []consume.Message) error {
	if h.Manner == sorts { // As handlers do that lock rows in the order of their keys.
		slices.SortStableFunc(batch, func(a, b consume.Message) int { return bytes.Compare(b.Key, a.Key) })
	}
	for _, m := range batch {
		if err := h.write(ctx, tx, m); err != nil {
			return err
		}
	}
	switch h.Manner {
	case sorts:
		slices.Reverse(batch)
	case filters:
		_ = slices.DeleteFunc(batch, func(m consume.Message) bool { return m.Offset%2 == 0 })
	case keeps:
		h.keep(batch)
	default:
	}

	return h.misbehave(ctx, tx)
}

// keep keeps a batch and overwrites the one that it kept before.
func (h *handlers) keep(batch []consume.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.kept)
	h.kept = batch
}

func (h *handlers) queue(_ context.Context, statements *pgx.Batch, m consume.Message) error {
	if err := fails(m); err != nil {
		return err
	}
	reign := h.watcher.reign(partitionOfRecord(m.Record))
	statements.Queue(insertEffect, arguments(reign, m)...)
	statements.Queue(insertCount)
	h.watcher.handled(reign, m)

	return nil
}

// write writes the effect of a record.
func (h *handlers) write(ctx context.Context, tx pgx.Tx, m consume.Message) error {
	if err := fails(m); err != nil {
		return err
	}
	reign := h.watcher.reign(partitionOfRecord(m.Record))
	if _, err := tx.Exec(ctx, insertEffect, arguments(reign, m)...); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, insertCount); err != nil {
		return err
	}
	h.watcher.handled(reign, m)

	return nil
}

func arguments(reign string, m consume.Message) []any {
	return []any{m.EventID, m.Topic, m.Partition, m.Offset, string(m.Key), reign, m.DeadLetter}
}

func fails(m consume.Message) error {
	if m.DeadLetter == "" && bytes.Contains(m.Value, poison) {
		return consume.Permanent(errPoison)
	}

	return nil
}

// misbehave does what handlers should not do, in one of twenty calls.
func (h *handlers) misbehave(ctx context.Context, tx pgx.Tx) error {
	if rand.IntN(20) != 0 { //nolint:gosec // It is no secret.
		return nil
	}
	switch h.Manner {
	case panics:
		panic("the handler panics at times")
	case fallible:
		return errAtTimes
	case transient:
		return consume.Transient(errAtTimes)
	case swallows:
		_, _ = tx.Exec(ctx, `SELECT 1/0`)
	case slow:
		_, err := tx.Exec(ctx, `SELECT pg_sleep(random() * 0.3)`)

		return err
	case waits:
		return h.useAnotherConnection(ctx)
	case deadlocks:
		for range 3 {
			if _, err := tx.Exec(ctx, updateStock, rand.IntN(8)); err != nil { //nolint:gosec // As above.
				return err
			}
		}
	default:
	}

	return nil
}

// useAnotherConnection of the pool that all handlers of this worker share.
func (h *handlers) useAnotherConnection(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := h.pool.Exec(ctx, `SELECT pg_sleep(0.1)`)

	return err
}
