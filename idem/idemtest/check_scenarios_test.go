package idemtest_test

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem/idemtest"
)

// outbox is a service's way to mails that are sent once for each payment.
func TestCheckCountsWhatIsOutside(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"in the handler": {"crash after the handler, then delivered again", "mails: 2, want 1"},
		"after it":       nil,
	} {
		said := run(func(t testing.TB) {
			idemtest.Check(t, func(pool *pgxpool.Pool) idemtest.Subject {
				s := newService(t, pool)
				var (
					mu    sync.Mutex
					mails []string
				)
				send := func(payment string) {
					mu.Lock()
					defer mu.Unlock()
					if !slices.Contains(mails, payment) || name == "in the handler" {
						mails = append(mails, payment)
					}
				}
				event := idemtest.Event{ID: "p-1", Handle: func(ctx context.Context, tx pgx.Tx) error {
					if err := plain(nil)(ctx, tx, "p-1"); err != nil {
						return err
					}
					send("p-1")

					return nil
				}}

				return idemtest.Events(s.guard, event).Outside("mails", func() int {
					mu.Lock()
					defer mu.Unlock()

					return len(mails)
				})
			})
		})
		wantSaid(t, said, want)
	}
}

// Of the scenarios that Check makes, the third one is that of events that are delivered again.
func TestCheckDeliversAgain(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]consume.Config{
		"offset lost":    {Mode: consume.ByEventID, EventID: consume.TopicPartitionOffset()},
		"produced again": {},
	} {
		var (
			duplicates [3]atomic.Int64
			scenarios  atomic.Int64
		)
		idemtest.Check(t, func(pool *pgxpool.Pool) idemtest.Subject {
			config := config
			config.Handle = forms()["one by one"].Handle
			if n := scenarios.Add(1) - 1; n < 3 {
				config.Hooks.Process.End = func(_ context.Context, _ consume.ProcessBegin, end consume.ProcessEnd) {
					duplicates[n].Add(int64(end.Duplicates))
				}
			}

			return idemtest.Records(newService(t, pool).guard, config, records("p-1", "p-2")...)
		})
		if n := duplicates[2].Load(); n != 2 {
			t.Errorf("%s: %d records were seen to be duplicates, want 2", name, n)
		}
	}
}

// While Check looks for writes outside, it must not see what other handlers commit.
func TestCheckLooksAtOneHandlerAtATime(t *testing.T) {
	t.Parallel()
	several := records("p-1", "p-2")
	several[1].Partition = 1
	for name, test := range map[string]struct {
		config  consume.Config
		records []consume.Record
	}{
		"lanes":      {consume.Config{Lanes: consume.LanesConfig{Count: 2}}, records("p-1", "p-2")},
		"partitions": {consume.Config{}, several},
	} {
		var scenarios atomic.Int64
		idemtest.Check(t, func(pool *pgxpool.Pool) idemtest.Subject {
			var running atomic.Int64
			first := scenarios.Add(1) == 1
			test.config.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
				running.Add(1)
				defer running.Add(-1)
				for range 30 {
					if first && running.Load() > 1 {
						t.Errorf("%s: another handler runs too", name)
					}
					if !first {
						break
					}
					time.Sleep(10 * time.Millisecond) //nolint:forbidigo // Another one would begin meanwhile.
				}

				return plain(nil)(ctx, tx, string(m.Value))
			}

			return idemtest.Records(newService(t, pool).guard, test.config, test.records...)
		})
	}
}

func TestCheckFindsChangingEventIDs(t *testing.T) {
	t.Parallel()
	said := run(func(t testing.TB) {
		idemtest.Check(t, func(pool *pgxpool.Pool) idemtest.Subject {
			config := forms()["one by one"]
			n := 0
			config.EventID = func(consume.Record) (string, error) {
				n++

				return strconv.Itoa(n), nil
			}

			return idemtest.Records(newService(t, pool).guard, config, records("p-1")...)
		})
	})
	wantSaid(t, said, []string{`Config.EventID gives record 1 another id each time: "1", "2"`})
}

func TestCheckAnyOrder(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		`UPDATE accounts SET balance = balance + $1`:     nil,
		`UPDATE accounts SET balance = 2 * balance + $1`: {"delivered in the order [3 2 1 0] of the events: not what an undisturbed delivery does: public.accounts: missing {balance:"},
	} {
		setup := func(pool *pgxpool.Pool) idemtest.Subject {
			s := newService(t, pool)

			return idemtest.Records(s.guard, consume.Config{Handle: func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
				_, err := tx.Exec(ctx, name, len(m.Value))

				return err
			}}, records("p", "p1", "p11", "")...)
		}
		wantSaid(t, run(func(t testing.TB) { idemtest.CheckAnyOrder(t, setup) }), want)
	}
	said := run(func(t testing.TB) {
		idemtest.CheckAnyOrder(t, func(pool *pgxpool.Pool) idemtest.Subject {
			s := newService(t, pool)
			first := true
			event := func(id string) idemtest.Event {
				return idemtest.Event{ID: id, Handle: func(ctx context.Context, tx pgx.Tx) error {
					defer func() { first = false }()
					if !first {
						return nil
					}

					return plain(s)(ctx, tx, id)
				}}
			}

			return idemtest.Events(s.guard, event("p-1"), event("p-2"))
		})
	})
	wantSaid(t, said, []string{"delivered in the order [1 0]", `charges: missing {cents: 100, payment: "p-1"}`, `too many {cents: 100, payment: "p-2"}`})
}
