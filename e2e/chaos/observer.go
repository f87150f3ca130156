package main

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/history"
)

const observeEvery = 200 * time.Millisecond

// observer looks at the partitions all the time.
type observer struct {
	stack      *stack
	partitions func() []history.Partition
	mode       consume.Mode

	mu        sync.Mutex
	seen      []history.Seen
	stands    map[history.Partition]int64 // checkpoints or, without any, the group's offsets
	committed map[history.Partition]int64
	ends      map[history.Partition]int64

	moved      time.Time // when one that stands was last seen to move, or when there was nothing to do
	standstill time.Duration
}

func newObserver(s *stack, mode consume.Mode, partitions func() []history.Partition) *observer {
	return &observer{stack: s, mode: mode, partitions: partitions, stands: map[history.Partition]int64{}, committed: map[history.Partition]int64{}, moved: time.Now()}
}

// run looks until the context ends. PostgreSQL and Kafka may be away: each has a goroutine of its own.
func (o *observer) run(ctx context.Context) {
	var looking sync.WaitGroup
	looking.Go(func() {
		for ctx.Err() == nil {
			asked := time.Now()
			if checkpoints, err := o.readCheckpoints(ctx); err == nil {
				o.note(asked, checkpoints, nil)
			}
			wait(ctx, observeEvery)
		}
	})
	looking.Go(func() {
		for ctx.Err() == nil {
			asked := time.Now()
			if committed, err := committedOffsets(ctx, o.stack.admin); err == nil {
				o.note(asked, nil, committed)
			}
			if ends, err := endsOf(ctx, o.stack.admin, o.partitions()); err == nil {
				o.mu.Lock()
				o.ends = ends
				o.mu.Unlock()
			}
			wait(ctx, observeEvery)
		}
	})
	looking.Wait()
}

func (o *observer) readCheckpoints(ctx context.Context) (map[history.Partition]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	rows, err := o.stack.pool.Query(ctx, `SELECT topic, partition, next_offset FROM idem.checkpoints WHERE lane = 0`)
	if err != nil {
		return nil, err
	}
	checkpoints := map[history.Partition]int64{}
	var p history.Partition
	var next int64
	_, err = pgx.ForEachRow(rows, []any{&p.Topic, &p.Partition, &next}, func() error {
		checkpoints[p] = next

		return nil
	})

	return checkpoints, err
}

func (o *observer) note(asked time.Time, checkpoints, committed map[history.Partition]int64) {
	at := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	for p, next := range checkpoints {
		o.seen = append(o.seen, history.Seen{Partition: p, Asked: asked, At: at, Checkpoint: next, Committed: -1})
	}
	for p, offset := range committed {
		o.seen = append(o.seen, history.Seen{Partition: p, Asked: asked, At: at, Checkpoint: -1, Committed: offset})
	}
	stands := checkpoints
	if o.mode == consume.ByEventID {
		stands = committed
	}
	if stands != nil && !maps.Equal(stands, o.stands) {
		o.standstill = max(o.standstill, at.Sub(o.moved))
		o.moved = at
		o.stands = stands
	}
	if committed != nil {
		o.committed = committed
	}
}

// idle says that nothing is to be done: what stands still from now on is nobody's fault.
func (o *observer) idle() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.moved = time.Now()
}

// lag is how far the checkpoints are behind the ends that were seen last. Markers of transactions count, too.
func (o *observer) lag() int64 {
	o.mu.Lock()
	ends := o.ends
	o.mu.Unlock()
	lag, _ := o.behind(ends)

	return lag
}

// behind returns how far the checkpoints, or the group's offsets, are behind the ends.
func (o *observer) behind(ends map[history.Partition]int64) (checkpoints, committed int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for p, end := range ends {
		checkpoints += max(0, end-o.stands[p])
		committed += max(0, end-o.committed[p])
	}

	return checkpoints, committed
}

// position is where a partition stands, and whether it is known to have had an owner. Without checkpoints nobody knows.
func (o *observer) position(p history.Partition) (int64, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	next, there := o.stands[p]

	return next, there || o.mode == consume.ByEventID
}

// awaitMove waits until a checkpoint has moved, but not for long, and then for some time more.
func (o *observer) awaitMove(ctx context.Context, more time.Duration) {
	began := time.Now()
	for time.Since(began) < 3*time.Second && ctx.Err() == nil {
		o.mu.Lock()
		moved := o.moved.After(began.Add(observeEvery)) // An observation may be under way.
		o.mu.Unlock()
		if moved {
			break
		}
		wait(ctx, observeEvery/2)
	}
	wait(ctx, more)
}

// await returns once all partitions have a checkpoint.
func (o *observer) await(ctx context.Context) error {
	for range 600 {
		all := true
		for _, p := range append(o.partitions(), partitionsOf(frail, frailPartitions)...) {
			_, there := o.position(p)
			all = all && there
		}
		if all {
			return nil
		}
		wait(ctx, observeEvery)
		if err := ctx.Err(); err != nil {
			return err
		}
	}

	return errors.New("not each partition has a checkpoint after two minutes")
}

// readTables reads what the database holds.
func readTables(ctx context.Context, s *stack, mode consume.Mode) (t history.Tables, err error) {
	rows, err := s.pool.Query(ctx, `SELECT event_id, topic, "partition", "offset", key, reign, letter, run, receipt FROM public.effects
		ORDER BY pg_xact_commit_timestamp(xmin), seq`)
	if err != nil {
		return t, err
	}
	var e history.Effect
	_, err = pgx.ForEachRow(rows, []any{&e.Event, &e.Topic, &e.Partition.Partition, &e.Offset, &e.Key, &e.Reign, &e.Letter, &e.Run, &e.Receipt}, func() error {
		t.Effects = append(t.Effects, e)

		return nil
	})
	if err != nil {
		return t, err
	}
	rows, err = s.pool.Query(ctx, `SELECT coalesce(event_id, (SELECT convert_from(value, 'UTF8') FROM unnest(header_keys, header_values) AS header (key, value)
		WHERE $2 AND key = convert_to($1, 'UTF8')), ''), topic, record_partition, record_offset, state FROM idem.dead_letters`,
		consume.DefaultEventIDHeader, mode == consume.ByCheckpoint)
	if err != nil {
		return t, err
	}
	var l history.Letter
	_, err = pgx.ForEachRow(rows, []any{&l.Event, &l.Topic, &l.Partition.Partition, &l.Offset, &l.State}, func() error {
		l.Event = eventOf(mode, l.Event, l.Place)
		t.Letters = append(t.Letters, l)

		return nil
	})
	if err != nil {
		return t, err
	}

	rows, err = s.pool.Query(ctx, `SELECT event_id, count(*) FROM public.counted GROUP BY event_id`)
	if err != nil {
		return t, err
	}
	t.Counted = map[string]int{}
	var event string
	var n int
	_, err = pgx.ForEachRow(rows, []any{&event, &n}, func() error {
		t.Counted[event] = n

		return nil
	})

	return t, err
}
