package e2e_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
)

// A handler that takes longer than it may is a failed attempt, whether it waits in PostgreSQL or
// elsewhere.
func TestHandlerTimeout(t *testing.T) {
	t.Parallel()
	waits := map[string]func(ctx context.Context, tx pgx.Tx) error{
		"in PostgreSQL": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `SELECT pg_sleep(60)`)

			return err
		},
		"in PostgreSQL, and overlooks it": func(ctx context.Context, tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `SELECT pg_sleep(60)`)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				continue
			}

			return nil
		},
		"elsewhere": func(ctx context.Context, _ pgx.Tx) error {
			<-ctx.Done()

			return ctx.Err()
		},
	}
	for where, wait := range waits {
		for name, use := range ways {
			t.Run(name+" "+where, func(t *testing.T) {
				t.Parallel()
				s := setup(t, broker.InProcess(t), 1)
				s.broker.Write(t, s.topic, events(0, 20, 1)...)
				s.start(t, func(c *settings) {
					c.HandlerTimeout = 500 * time.Millisecond
					c.Failure.Retry = consume.RetryPolicy{MaxAttempts: 2, FirstPause: time.Millisecond, LongestPause: time.Millisecond}
					use(c, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
						if m.Offset == 7 {
							return wait(ctx, tx)
						}

						return record(ctx, tx, m)
					})
				})
				s.awaitCommitted(t, 20)
				s.verifyOnce(t, 19)
				if got := s.letters(t); !slices.Equal(got, []string{"7 open 2"}) {
					t.Errorf("letters %q", got)
				}
				if got := s.letterErrors(t); len(got) != 1 || !strings.Contains(got[0], "HandlerTimeout") {
					t.Errorf("they say %q", got)
				}
			})
		}
	}
}

// A partition behind a transaction that its producer does not end says so, and that it goes on.
func TestOpenTransactionIsTold(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 1)
		open := b.Begin(t, s.topic)
		open.Produce(t, events(0, 3, 1))
		b.Write(t, s.topic, events(3, 5, 1)...)
		var paused, resumed atomic.Int32
		s.start(t, func(c *settings) {
			c.Hooks.Pause = idem.Hook[consume.PauseBegin, consume.PauseEnd]{
				Begin: func(ctx context.Context, why consume.PauseBegin) context.Context {
					if why.Kind == consume.PauseProducer && errors.Is(why.Err, consume.ErrOpenTransaction) && why.Offset == 0 {
						paused.Add(1)
					}

					return ctx
				},
				End: func(_ context.Context, why consume.PauseBegin, end consume.PauseEnd) {
					if why.Kind == consume.PauseProducer && end.GoesOn {
						resumed.Add(1)
					}
				},
			}
		})
		until(t, "the open transaction to be told", func() bool { return paused.Load() == 1 })
		if n := resumed.Load(); n > 0 {
			t.Errorf("it went on %d times", n)
		}
		open.End(t, kgo.TryCommit)
		s.awaitEffects(t, 8)
		until(t, "the partition to go on", func() bool { return resumed.Load() == 1 })
	})
}
