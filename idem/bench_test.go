package idem_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// benchGuard returns a registered guard, so that registration is not measured.
func benchGuard(b *testing.B) *idem.Guard {
	b.Helper()
	guard, err := idem.New(pgtest.NewDB(b).Pool(b), idem.Config{Consumer: "orders"})
	if err != nil {
		b.Fatal(err)
	}
	if err := guard.Register(b.Context()); err != nil {
		b.Fatal(err)
	}

	return guard
}

func nothing(context.Context, pgx.Tx) error { return nil }

// BenchmarkProcessIfNew is what the guard costs around a handler that does nothing.
func BenchmarkProcessIfNew(b *testing.B) {
	benchCall(b, func(ctx context.Context, guard *idem.Guard, eventID string) (idem.Outcome, error) {
		return guard.ProcessIfNew(ctx, eventID, nothing)
	})
	b.Run("parallel", func(b *testing.B) {
		guard := benchGuard(b)
		b.ReportAllocs()
		var n atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				id := "event " + strconv.FormatInt(n.Add(1), 10)
				if outcome, err := guard.ProcessIfNew(b.Context(), id, nothing); err != nil || outcome != idem.Processed {
					b.Error(outcome, err)

					return
				}
			}
		})
	})
}

// BenchmarkExecIfNew is the same without a handler, all in one round trip.
func BenchmarkExecIfNew(b *testing.B) {
	none := func(*pgx.Batch) error { return nil }
	benchCall(b, func(ctx context.Context, guard *idem.Guard, eventID string) (idem.Outcome, error) {
		return guard.ExecIfNew(ctx, eventID, none)
	})
}

// BenchmarkMarkProcessed is the claim alone.
func BenchmarkMarkProcessed(b *testing.B) {
	benchCall(b, func(ctx context.Context, guard *idem.Guard, eventID string) (idem.Outcome, error) {
		return guard.MarkProcessed(ctx, eventID)
	})
}

// benchCall measures a call for new events and for one that is processed.
func benchCall(b *testing.B, call func(ctx context.Context, guard *idem.Guard, eventID string) (idem.Outcome, error)) {
	b.Helper()
	b.Run("fresh", func(b *testing.B) {
		guard := benchGuard(b)
		b.ReportAllocs()
		for b.Loop() {
			id, err := uuid.NewV7()
			if err != nil {
				b.Fatal(err)
			}
			if outcome, err := call(b.Context(), guard, id.String()); err != nil || outcome != idem.Processed {
				b.Fatal(outcome, err)
			}
		}
	})
	b.Run("duplicate", func(b *testing.B) {
		guard := benchGuard(b)
		if _, err := guard.MarkProcessed(b.Context(), "e"); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if outcome, err := call(b.Context(), guard, "e"); err != nil || outcome != idem.AlreadyProcessed {
				b.Fatal(outcome, err)
			}
		}
	})
}

// BenchmarkClaimTx is what a claim adds to a transaction of the caller's.
func BenchmarkClaimTx(b *testing.B) {
	pool := pgtest.NewDB(b).Pool(b)
	guard, err := idem.New(pool, idem.Config{Consumer: "orders"})
	if err != nil {
		b.Fatal(err)
	}
	if err := guard.Register(b.Context()); err != nil {
		b.Fatal(err)
	}
	tx, err := pool.Begin(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(b.Context())) //nolint:errcheck // Only the connection is to be given back.
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		claim, err := guard.ClaimTx(b.Context(), tx, "event "+strconv.Itoa(n))
		if err != nil || !claim.New {
			b.Fatal(claim, err)
		}
	}
}

// BenchmarkPollDeadLetters is what an owner does every few seconds, while nothing is to be replayed.
func BenchmarkPollDeadLetters(b *testing.B) {
	for _, waiting := range []string{"open", "parked"} {
		for _, n := range []int{10, 1_000_000} {
			b.Run(fmt.Sprintf("%s=%d", waiting, n), func(b *testing.B) {
				pool := pgtest.NewDB(b).Pool(b)
				guard, err := idem.New(pool, idem.Config{Consumer: "orders"})
				if err != nil {
					b.Fatal(err)
				}
				_, err = guard.Unfenced(partition).StoreDeadLetter(b.Context(), idem.DeadLetter{Partition: partition, Key: []byte("k"), EventID: "e", Error: "refused"})
				if err != nil {
					b.Fatal(err)
				}
				_, err = pool.Exec(b.Context(), `INSERT INTO idem.dead_letters (id, key, topic_id, record_offset, state, key_hash, claim_id, consumer_id, record_partition, attempts, topic, error, header_keys, header_values)
					SELECT gen_random_uuid(), key, topic_id, n, $2, CASE $2 WHEN 'open' THEN n ELSE key_hash END, claim_id, consumer_id, record_partition, attempts, topic, error, '{}', '{}'
					FROM idem.dead_letters, generate_series(1, $1::bigint - 1) n`, n, waiting)
				if err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					if _, err := guard.Unfenced(partition).NextDeadLetter(b.Context()); !errors.Is(err, idem.ErrNotFound) {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
