package e2e_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/internal/logbuffer"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// The handlers of four partitions take a second connection each from a pool of four: nobody gets one, and
// that is told, with the size of the pool and the partitions that wait.
func TestHandlersThatWaitForThePoolAreTold(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDB(t)
	s := setupIn(t, broker.InProcess(t), 4, db.Pool(t))
	s.broker.Write(t, s.topic, events(0, 8, 4)...)
	through := *s
	through.pool = db.Pool(t, pgtest.MaxConns(4))
	var log logbuffer.Buffer
	var all sync.WaitGroup // They all have their transactions before the first one asks for more.
	all.Add(4)
	told := make(chan consume.Event, 100)
	began := time.Now()
	m := through.start(t, func(c *settings) {
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			if m.Offset == 0 {
				all.Done()
				all.Wait()
				// The mistake: it is not tx that is asked.
				if err := through.pool.QueryRow(ctx, `SELECT 1`).Scan(new(int)); err != nil {
					return err
				}
			}

			return record(ctx, tx, m)
		}
		c.Hooks.Event = func(_ context.Context, e consume.Event) {
			if e.Kind == consume.EventPoolWait {
				told <- e
			}
		}
	})
	waiting := map[int]bool{}
	for len(waiting) < 4 {
		select {
		case e := <-told:
			var pool *consume.PoolWaitError
			if !errors.As(e.Err, &pool) || pool.MaxConns != 4 || e.Topic != s.topic || e.Offset != 0 || e.Duration < 5*time.Second {
				t.Errorf("told %+v", e)
			}
			waiting[int(e.Partition)] = true
		case <-time.After(patience):
			t.Fatalf("told of %d partitions only", len(waiting))
		}
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it was told after %v", took)
	}
	const line = "the guard's pool has no free connection"
	until(t, "a line in the log", func() bool { return len(log.Having(line)) > 0 })
	if got := log.Having(line); len(got) != 1 || !strings.Contains(got[0], "max_conns=4") || strings.Count(got[0], "at offset 0") != 4 {
		t.Errorf("the log says %q", got)
	}
	m.leave(t)
}
