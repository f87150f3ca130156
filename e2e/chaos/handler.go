package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/history"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/lease"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// The tables in which handlers write, and what they write for a record.
const (
	createTables = `
		CREATE TABLE public.effects (seq bigint GENERATED ALWAYS AS IDENTITY, event_id text, topic text, "partition" int, "offset" bigint,
			key text, reign text, letter text, run text, receipt text);
		CREATE TABLE public.counted (event_id text);
		CREATE TABLE public.stock (id int PRIMARY KEY, n int);
		INSERT INTO public.stock SELECT id, 0 FROM generate_series(0, 7) AS id`
	stockRows = 8

	// grantTables has what these handlers need besides what schema.Grants gives.
	grantTables = `
		GRANT INSERT ON public.effects, public.counted TO worker;
		GRANT SELECT, UPDATE ON public.stock TO worker`

	insertEffect = `INSERT INTO public.effects (event_id, topic, "partition", "offset", key, reign, letter, run, receipt)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`
	insertCount = `INSERT INTO public.counted VALUES ($1)`
	updateStock = `UPDATE public.stock SET n = n + 1 WHERE id = $1`
)

// Values of records: one that fails until its dead letter is replayed, and one whose event has to be charged.
var (
	poison     = []byte(`"poison"`)
	chargeable = []byte(`"chargeable"`)
)

var (
	errPoison  = errors.New("the record is poison")
	errAtTimes = errors.New("the handler fails at times")
)

// ofOthers are what a handler that fails has heard from other systems, and from another guard that it works with.
var ofOthers = []error{errors.New("no money"), &idem.CollisionError{EventID: "another guard's"}, idem.ErrFenced, idem.ErrRewound, idem.ErrCheckpointGone}

// handlers are those of a worker, with its character.
type handlers struct {
	character

	mode     consume.Mode
	pool     *pgxpool.Pool
	watcher  *watcher
	leases   *lease.Leases
	provider string

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

// execute executes a statement in the transaction of a handler, at once or, if the handler only queues it, later. Then no error
// comes back, and the record fails with it.
type execute func(sql string, args ...any) error

func executeIn(ctx context.Context, tx pgx.Tx) execute {
	return func(sql string, args ...any) error {
		_, err := tx.Exec(ctx, sql, args...)

		return err
	}
}

func (h *handlers) handle(ctx context.Context, tx pgx.Tx, m consume.Message) error {
	if err := h.publish(ctx, tx, m); err != nil {
		return err
	}

	return h.misbehave(ctx, executeIn(ctx, tx))
}

func (h *handlers) batch(ctx context.Context, tx pgx.Tx, batch []consume.Message) error {
	if h.Manner == sorts { // As handlers do that lock rows in the order of their keys.
		slices.SortStableFunc(batch, func(a, b consume.Message) int { return bytes.Compare(b.Key, a.Key) })
	}
	for _, m := range batch {
		if err := h.publish(ctx, tx, m); err != nil {
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

	return h.misbehave(ctx, executeIn(ctx, tx))
}

// keep keeps a batch and overwrites the one that it kept before.
func (h *handlers) keep(batch []consume.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.kept)
	h.kept = batch
}

func (h *handlers) queue(ctx context.Context, statements *pgx.Batch, m consume.Message) error {
	later := func(sql string, args ...any) error {
		statements.Queue(sql, args...)

		return nil
	}
	e, err := h.write(ctx, later, m)
	if err != nil {
		return err
	}
	if err := outbox.Queue(statements, tells(e)...); err != nil { //nolint:contextcheck // It does no I/O.
		return err
	}

	return h.misbehave(ctx, later)
}

// publish writes the effect of a record, and publishes it.
func (h *handlers) publish(ctx context.Context, tx pgx.Tx, m consume.Message) error {
	e, err := h.write(ctx, executeIn(ctx, tx), m)
	if err != nil {
		return err
	}

	return outbox.Publish(ctx, tx, tells(e)...)
}

// write writes the effect of a record.
func (h *handlers) write(ctx context.Context, execute execute, m consume.Message) (history.Effect, error) {
	e, err := h.effect(ctx, m)
	if err != nil {
		return e, err
	}
	if err := execute(insertEffect, arguments(e)...); err != nil {
		return e, err
	}
	if err := execute(insertCount, e.Event); err != nil {
		return e, err
	}
	if sells(e) {
		if err := execute(updateStock, e.Partition.Partition%stockRows); err != nil {
			return e, err
		}
	}
	h.watcher.handled(ctx, e)

	return e, nil
}

// sells tells whether an event changes the stock: one in eight does, each time that it comes. All those of a partition change one row,
// so that partitions wait for each other, and their batches do not deadlock.
func sells(e history.Effect) bool { return crc32.ChecksumIEEE([]byte(e.Event))%8 == 0 }

// eventID is what the consumer says, unless it goes by the checkpoint alone and has nobody asked for ids.
func (h *handlers) eventID(m consume.Message) string {
	if h.mode == consume.ByCheckpoint {
		return consume.HeaderCarrier(m.Headers).Get(consume.DefaultEventIDHeader)
	}

	return m.EventID
}

// effect is what is to be written for a record.
func (h *handlers) effect(ctx context.Context, m consume.Message) (history.Effect, error) {
	at := history.Place{Partition: partitionOfRecord(m.Record), Offset: m.Offset}
	e := history.Effect{
		Record: history.Record{Place: at, Event: eventOf(h.mode, h.eventID(m), at), Key: string(m.Key)}, Reign: tryIn(ctx).reign, Letter: m.DeadLetter,
	}
	if m.Topic == outcomes {
		return e, nil
	}
	if m.DeadLetter == "" && bytes.Equal(m.Value, poison) {
		return e, consume.Permanent(errPoison)
	}
	e.Run = h.watcher.name()
	if bytes.Equal(m.Value, chargeable) {
		receipt, err := h.charge(ctx, e.Event)
		e.Receipt = receipt

		return e, err
	}

	return e, nil
}

func arguments(e history.Effect) []any {
	return []any{e.Event, e.Topic, e.Partition.Partition, e.Offset, e.Key, e.Reign, e.Letter, e.Run, e.Receipt}
}

// effectHeader has what a record tells of. The value is the same whenever the event is done again: else it would be a collision.
const effectHeader = "effect"

// tells are the records that tell of an effect, in another topic. Their id follows from the event, so that a record is
// recognized whose transaction the database has lost and another one has done again.
func tells(e history.Effect) []outbox.Record {
	if e.Run == "" {
		return nil
	}
	text, _ := json.Marshal(e) //nolint:errchkjson // It always can.

	return []outbox.Record{{
		Topic: outcomes, Key: []byte(e.Key), EventID: "outcome-of-" + e.Event, Headers: []consume.RecordHeader{{Key: effectHeader, Value: text}},
	}}
}

const (
	leaseDuration = 2 * time.Second
	chargeTimeout = 5 * time.Second
)

// charge has the provider charge for an event, and returns the receipt. What fails is tried again.
func (h *handlers) charge(ctx context.Context, event string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, chargeTimeout)
	defer cancel()
	of := history.Entry{Event: event}
	note := func(kind history.Kind) {
		of.Kind = kind
		h.watcher.write(of)
	}
	note(history.Sought)
	receipt, done, err := lease.DoJSON(ctx, h.leases, event, func(ctx context.Context, a *lease.Attempt) (string, error) {
		of.Try = int64(a.Number)
		note(history.Charging)
		receipt, err := ask(ctx, h.provider, history.Charge{Event: event, Attempt: of.Try, Key: a.Key("charge")})
		if err != nil {
			return "", lease.Unknown(err)
		}
		note(history.Charged)

		return receipt, nil
	}, lease.Wait(leaseDuration))
	switch {
	case err != nil:
		return "", consume.Transient(err)
	case done.Outcome == lease.Processed:
		note(history.Settled)
	}

	return receipt, nil
}

// misbehave does what handlers should not do, in one of twenty calls.
func (h *handlers) misbehave(ctx context.Context, execute execute) error {
	if rand.IntN(20) != 0 { //nolint:gosec // It is no secret.
		return nil
	}
	switch h.Manner {
	case panics:
		panic("the handler panics at times")
	case fallible:
		return fmt.Errorf("%w: %w", errAtTimes, ofOthers[rand.IntN(len(ofOthers))]) //nolint:gosec // As above.
	case transient:
		return consume.Transient(errAtTimes)
	case swallows:
		_ = execute(`SELECT 1/0`) // Queued, it cannot be swallowed.
	case slow:
		return execute(`SELECT pg_sleep(random() * 0.3)`)
	case waits:
		return h.useAnotherConnection(ctx)
	case deadlocks:
		for range 3 {
			if err := execute(updateStock, rand.IntN(stockRows)); err != nil { //nolint:gosec // As above.
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
