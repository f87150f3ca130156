package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
)

// transactions returns how many records each of the transactions has processed that have, in the
// order of the log.
func (s *bench) transactions(t *testing.T) []int {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), `SELECT count(*)::int FROM public.effects GROUP BY xmin::text ORDER BY min(seq)`)
	if err != nil {
		t.Fatal(err)
	}
	counts, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		t.Fatal(err)
	}

	return counts
}

// Records that have come together share transactions, if their handler is quick.
func TestRecordsShareTransactions(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*settings){
		"shared": func(*settings) {},
		"queue":  func(c *settings) { c.Handle, c.HandleQueue = nil, enqueue },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			s.broker.Write(t, s.topic, events(0, 300, 1)...)
			s.start(t, change)
			s.awaitCommitted(t, 300)
			s.verify(t, 300)
			if counts := s.transactions(t); len(counts) > 100 || slices.Max(counts) < 4 {
				t.Errorf("the transactions have processed %d records", counts)
			}
		})
	}
}

// A slow handler makes no long transactions, and with OwnTransactions each record has its own.
func TestSlowRecordsHaveTheirOwnTransactions(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*settings){
		"slow": func(c *settings) {
			c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
				if _, err := tx.Exec(ctx, `SELECT pg_sleep(0.021)`); err != nil {
					return err
				}

				return record(ctx, tx, m)
			}
		},
		"own": func(c *settings) { c.OwnTransactions = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			s.broker.Write(t, s.topic, events(0, 30, 1)...)
			s.start(t, change)
			s.awaitCommitted(t, 30)
			if counts := s.transactions(t); slices.Max(counts) != 1 {
				t.Errorf("the transactions have processed %d records", counts)
			}
		})
	}
}

// One that fails takes no other with it, and has as many attempts as it would have alone. It is known at
// once which one it is: its handler runs once more, in the shared transaction.
func TestRecordThatFailsInASharedTransactionStandsAlone(t *testing.T) {
	t.Parallel()
	poison := errors.New("poison")
	aborts := func(ctx context.Context, tx pgx.Tx) error {
		_, _ = tx.Exec(ctx, `SELECT 1/0`) // It says nothing of it.

		return nil
	}
	rollsBack := func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `ROLLBACK`)

		return err
	}
	for name, test := range map[string]struct {
		fails    func(ctx context.Context, tx pgx.Tx) error
		letter   string // what its dead letter says
		attempts int32
	}{
		"an error":            {func(context.Context, pgx.Tx) error { return poison }, "poison", 3},
		"for good":            {func(context.Context, pgx.Tx) error { return consume.Permanent(poison) }, "poison", 1},
		"a panic":             {func(context.Context, pgx.Tx) error { panic(poison) }, "poison", 3},
		"an error kept quiet": {aborts, "did not return its error", 3},
		"a ROLLBACK":          {rollsBack, "transaction", 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			s.broker.Write(t, s.topic, events(0, 60, 1)...)
			var runs atomic.Int32
			s.start(t, func(c *settings) {
				c.Failure.Retry = consume.RetryPolicy{MaxAttempts: 3, FirstPause: time.Millisecond, LongestPause: time.Millisecond}
				c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
					if m.Offset == 50 {
						runs.Add(1)

						return test.fails(ctx, tx)
					}

					return record(ctx, tx, m)
				}
			})
			s.awaitCommitted(t, 60)
			s.verify(t, 59)
			if got, want := s.letters(t), fmt.Sprint("50 open ", test.attempts); !slices.Equal(got, []string{want}) {
				t.Errorf("letters %q, want %s", got, want)
			}
			if texts := s.letterErrors(t); len(texts) == 1 && !strings.Contains(texts[0], test.letter) {
				t.Errorf("the letter says %q", texts[0])
			}
			if n := runs.Load(); n > test.attempts+1 {
				t.Errorf("its handler ran %d times, want %d at most", n, test.attempts+1)
			}
		})
	}
}

// A statement that fails is the fault of the record that has queued it; what reads an answer can
// fail too.
func TestRecordWhoseQueuedStatementFailsStandsAlone(t *testing.T) {
	t.Parallel()
	statement := func(sql string) func(queue *pgx.Batch) error {
		return func(queue *pgx.Batch) error {
			queue.Queue(sql)

			return nil
		}
	}
	for name, queue := range map[string]func(queue *pgx.Batch) error{
		"statement":              statement(`SELECT 1/(random()*0)::int`),
		"syntax":                 statement(`SELEKT`),
		"end of the transaction": statement(`COMMIT`),
		"answer": func(queue *pgx.Batch) error {
			queue.Queue(`SELECT 1`).QueryRow(func(pgx.Row) error { return errors.New("poison") })

			return nil
		},
		"queueing": func(*pgx.Batch) error { return errors.New("poison") },
		"panic": func(queue *pgx.Batch) error {
			queue.Queue(`SELECT 1`).QueryRow(func(pgx.Row) error { panic("poison") })

			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			s.broker.Write(t, s.topic, events(0, 60, 1)...)
			var runs atomic.Int32
			s.start(t, func(c *settings) {
				c.Failure.Retry = consume.RetryPolicy{MaxAttempts: 3, FirstPause: time.Millisecond, LongestPause: time.Millisecond}
				c.Handle = nil
				c.HandleQueue = func(ctx context.Context, batch *pgx.Batch, m consume.Message) error {
					if m.Offset == 50 {
						runs.Add(1)

						return queue(batch)
					}

					return enqueue(ctx, batch, m)
				}
			})
			s.awaitCommitted(t, 60)
			if got := s.letters(t); !slices.Equal(got, []string{"50 open 3"}) {
				t.Errorf("letters %q", got)
			}
			// What cannot be parsed fails before any statement is executed, so whose it is has to be searched for.
			if n := runs.Load(); n > 4 && name != "syntax" {
				t.Errorf("its handler ran %d times, want 4 at most", n)
			}
			s.verify(t, 59)
		})
	}
}

// A handler that ends the transaction by its connection, which nothing keeps it from, ends Run: the guard cannot
// tell what has taken effect. Here nothing has, and no handler works behind it without a transaction.
func TestHandlerThatEndsASharedTransactionEndsRun(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 60, 1)...)
	err := s.start(t, func(c *settings) {
		c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			if m.Offset == 40 {
				_, err := tx.Conn().Exec(ctx, `ROLLBACK`)

				return err
			}

			return record(ctx, tx, m)
		}
	}).wait(t)
	var failed *consume.RecordError
	if !errors.Is(err, idem.ErrHandlerTx) || !errors.As(err, &failed) {
		t.Errorf("Run returned %v", err)
	}
	m := s.start(t, nil)
	s.awaitCommitted(t, 60)
	m.leave(t)
	s.verify(t, 60)
}

// After a conflict the records of the transaction are processed one by one, and then more again.
func TestSharedTransactionBeginsWithOneRecordAfterAConflict(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 60, 1)...)
	var (
		current   pgx.Tx
		first     int64 // record of the current transaction
		conflict  atomic.Bool
		conflicts atomic.Int64 // the first record of the transaction in which the conflict was
	)
	s.start(t, func(c *settings) {
		c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			if tx != current {
				current, first = tx, m.Offset
			}
			if m.Offset == 40 && conflict.CompareAndSwap(false, true) {
				conflicts.Store(first)

				return &pgconn.PgError{Code: "40001", Message: "could not serialize access"}
			}

			return record(ctx, tx, m)
		}
	})
	s.awaitCommitted(t, 60)
	s.verify(t, 60)
	var together int
	err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM public.effects WHERE xmin::text = (SELECT xmin::text FROM public.effects WHERE "offset" = $1)`,
		conflicts.Load()).Scan(&together)
	if err != nil || together != 1 {
		t.Errorf("after the conflict the first transaction had %d records, %v; want 1", together, err)
	}
}

// Two partitions whose handlers lock the same rows in opposite order end in deadlocks while they share
// transactions, and go on one record at a time.
func TestDeadlocksOfSharedTransactionsPass(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 2)
	if _, err := s.pool.Exec(t.Context(), `CREATE TABLE public.accounts AS SELECT i AS id, 0 AS n FROM generate_series(0, 9) i`); err != nil {
		t.Fatal(err)
	}
	s.broker.Write(t, s.topic, events(0, 400, 2)...)
	s.start(t, func(c *settings) {
		c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			account := m.Offset % 10
			if m.Partition == 1 {
				account = 9 - account
			}
			if _, err := tx.Exec(ctx, `UPDATE public.accounts SET n = n + 1 WHERE id = $1`, account); err != nil {
				return fmt.Errorf("add: %w", err)
			}

			return record(ctx, tx, m)
		}
	})
	s.awaitCommitted(t, 400)
	s.verify(t, 400)
	if got := s.letters(t); len(got) > 0 {
		t.Errorf("letters %q", got)
	}
}

// A handler that queues has a queue of its own: one that begins by emptying it took back the statements of the records before, whose events
// were claimed nevertheless.
func TestQueueIsTheRecordsOwn(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 20, 1)...)
	m := s.start(t, func(c *settings) {
		c.Handle = nil
		c.HandleQueue = func(ctx context.Context, queue *pgx.Batch, m consume.Message) error {
			*queue = pgx.Batch{}

			return enqueue(ctx, queue, m)
		}
	})
	s.awaitCommitted(t, 20)
	m.leave(t)
	s.verifyOnce(t, 20)
}
