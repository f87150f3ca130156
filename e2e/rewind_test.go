package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/logbuffer"
)

// goBack makes the database what it was when the checkpoint of the only partition stood at next, as a
// failover to a standby without the latest commits does. Offsets are event ids in these tests.
func (s *bench) goBack(t *testing.T, next int) {
	t.Helper()
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(t.Context())) //nolint:errcheck // It is for tests that fail.
	for _, sql := range []string{
		`UPDATE idem.checkpoints SET next_offset = least(next_offset, $1)`,
		`DELETE FROM public.effects WHERE "offset" >= $1`,
		`DELETE FROM idem.processed_events WHERE event_id::int >= $1`,
	} {
		if _, err := tx.Exec(t.Context(), sql, next); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// heard keeps what a consumer says.
type heard struct {
	log logbuffer.Buffer

	mu       sync.Mutex
	events   []consume.Event
	assigned int // how often a partition was
}

func (h *heard) config(c *settings) {
	c.Hooks.Event = func(_ context.Context, e consume.Event) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.events = append(h.events, e)
	}
	c.Hooks.Assignment.Begin = func(ctx context.Context, _ consume.AssignmentBegin) context.Context {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.assigned++

		return ctx
	}
	c.Logger = slog.New(slog.NewTextHandler(&h.log, nil))
}

func (h *heard) logged(text string) bool {
	return strings.Contains(h.log.String(), text)
}

// assignments returns how often a partition was assigned.
func (h *heard) assignments() int {
	h.mu.Lock()
	defer h.mu.Unlock()

	return h.assigned
}

// of returns the events of a kind.
func (h *heard) of(kind consume.EventKind) (events []consume.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if e.Kind == kind {
			events = append(events, e)
		}
	}

	return events
}

// forms are the ways in which records reach a handler.
func forms() map[string]func(*settings) {
	return map[string]func(*settings){
		"single": func(c *settings) { c.OwnTransactions = true },
		"shared": func(*settings) {},
		"queue":  func(c *settings) { c.Handle, c.HandleQueue = nil, enqueue },
		"batch": func(c *settings) {
			c.Handle = nil
			c.HandleBatch = func(ctx context.Context, tx pgx.Tx, batch []consume.Message) error {
				for _, m := range batch {
					if err := record(ctx, tx, m); err != nil {
						return err
					}
				}

				return nil
			}
		},
		"lanes": func(c *settings) { c.Lanes.Count = 4 },
		"checkpoint alone": func(c *settings) {
			c.Mode = consume.ByCheckpoint
		},
	}
}

// The database lost its latest commits while nobody consumed: the records that Kafka still has are
// processed again, although the group's offset is ahead of them.
func TestDatabaseWentBackBeforeTheStart(t *testing.T) {
	t.Parallel()
	for name, form := range forms() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			s.broker.Write(t, s.topic, events(0, 40, 1)...)
			m := s.start(t, form)
			s.awaitCommitted(t, 40)
			m.leave(t)
			s.goBack(t, 20)
			s.broker.Write(t, s.topic, events(40, 10, 1)...)

			err := s.start(t, func(c *settings) { form(c); c.OnDatabaseRewind = consume.FailOnRewind }).wait(t)
			if !errors.Is(err, idem.ErrRewound) || !strings.Contains(err.Error(), "was at 40 and is at 20") {
				t.Errorf("with FailOnRewind Run returned %v", err)
			}

			var h heard
			m = s.start(t, func(c *settings) { form(c); h.config(c) })
			s.awaitCommitted(t, 50)
			m.leave(t)
			s.verifyPlaces(t, 50)
			if told := h.of(consume.EventRewound); len(told) != 1 || told[0].Offset != 20 || told[0].Records != 20 || !h.logged("level=ERROR") {
				t.Errorf("it said %+v", told)
			}

			var again heard
			m = s.start(t, func(c *settings) { form(c); again.config(c) })
			until(t, "the next member to have its partition", func() bool { return again.assignments() == 1 })
			m.leave(t)
			if told := again.of(consume.EventRewound); len(told) != 0 {
				t.Errorf("the next member said it again: %+v", told)
			}
		})
	}
}

// The same while the member runs on.
func TestDatabaseGoesBackUnderAMember(t *testing.T) {
	t.Parallel()
	for name, form := range forms() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			var h heard
			m := s.start(t, func(c *settings) { form(c); h.config(c) })
			for round := range 3 {
				first := 30 * round
				s.broker.Write(t, s.topic, events(first, 20, 1)...)
				s.awaitCommitted(t, int64(first+20))
				s.goBack(t, first+10)
				s.broker.Write(t, s.topic, events(first+20, 10, 1)...)
				s.awaitCommitted(t, int64(first+30))
				s.verifyPlaces(t, first+30)
			}
			m.leave(t)
			if told := h.of(consume.EventRewound); len(told) != 3 {
				t.Errorf("it said %+v", told)
			}
		})
	}
}

// verifyPlaces checks that each of n records took effect once, by its place.
func (s *bench) verifyPlaces(t *testing.T, n int) {
	t.Helper()
	var lines, distinct int
	err := s.pool.QueryRow(t.Context(), `SELECT count(*), count(DISTINCT "offset") FROM public.effects`).Scan(&lines, &distinct)
	if err != nil || lines != n || distinct != n {
		t.Errorf("%d records took effect %d times, %v; want %d once", distinct, lines, err, n)
	}
}

// The records that the database has lost have expired in Kafka, too.
func TestDatabaseWentBackBehindTheLog(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 40, 1)...)
	m := s.start(t, nil)
	s.awaitCommitted(t, 40)
	m.leave(t)
	s.goBack(t, 20)
	s.broker.DeleteRecords(t, s.topic, 0, 30)
	if err := s.start(t, nil).wait(t); !errors.Is(err, consume.ErrOffsetOutOfRange) || !strings.Contains(err.Error(), "10 offsets have expired") {
		t.Errorf("Run returned %v", err)
	}
}

// The tables are gone, or those of another database: going on at the group's offset would lose what
// the lost tables had, beginning anew would double it. Until somebody decides.
func TestCheckpointsAreGone(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 10, 1)...)
	m := s.start(t, func(c *settings) { c.Failure.ReplayInterval = 50 * time.Millisecond })
	s.awaitCommitted(t, 10)
	if _, err := s.owner.Exec(t.Context(), `DELETE FROM idem.checkpoints`); err != nil {
		t.Fatal(err)
	}
	if err := m.wait(t); !errors.Is(err, idem.ErrCheckpointGone) {
		t.Errorf("Run returned %v to the owner of a partition in which nothing happens", err)
	}
	for range 2 { // The first refusal leaves nothing behind that the second would take for a beginning.
		if err := s.start(t, nil).wait(t); !errors.Is(err, idem.ErrCheckpointGone) || !strings.Contains(err.Error(), "--reset-offsets") {
			t.Fatalf("Run returned %v", err)
		}
	}
	s.broker.Write(t, s.topic, events(10, 5, 1)...)
	s.setGroup(t, 8)
	m = s.start(t, nil)
	s.awaitCommitted(t, 15)
	m.leave(t)
	s.verify(t, 15) // 8 and 9 are known by their event ids.
}

// setGroup sets the group's offset of the only partition, as kafka-consumer-groups.sh does.
func (s *bench) setGroup(t *testing.T, offset int64) {
	t.Helper()
	response, err := s.broker.Client.OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{
		GroupID: s.group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{s.topic: {{Offset: offset}}},
	})
	if err == nil {
		err = response.Topics[s.topic][0].Error
	}
	if err != nil {
		t.Fatal(err)
	}
}

// An operator moves the group: forward is obeyed, back is overruled by the checkpoint and says so.
// An operator who moves the checkpoint is obeyed either way, without an alarm.
func TestOperatorMovesGroupOrCheckpoint(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 20, 1)...)
	m := s.start(t, func(c *settings) { c.Mode = consume.ByCheckpoint })
	s.awaitCommitted(t, 20)
	m.leave(t)
	s.broker.Write(t, s.topic, events(20, 20, 1)...)
	for _, move := range []struct {
		name       string
		group      int64
		checkpoint int64
		effects    int
		said       string
		kind       consume.EventKind
	}{
		{"group forward", 30, -1, 30, "was moved forward", consume.EventSkipped},
		{"group back", 10, -1, 30, fmt.Sprintf("idemctl checkpoint reset --consumer \\\"test\\\" --topic \\\"%s\\\" --partition 0 --to 10", s.topic), 0},
		{"checkpoint back", -1, 35, 35, "the checkpoint was set", 0},
		{"checkpoint where it is", -1, 40, 35, "", 0},
	} {
		if move.group >= 0 {
			s.setGroup(t, move.group)
		}
		if move.checkpoint >= 0 {
			s.reset(t, move.checkpoint)
		}
		var h heard
		m = s.start(t, func(c *settings) { c.Mode = consume.ByCheckpoint; h.config(c) })
		until(t, "the member to have its partition", func() bool { return h.assignments() == 1 })
		s.awaitCommitted(t, 40)
		until(t, fmt.Sprintf("%s: %d effects", move.name, move.effects), func() bool {
			var lines int
			err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM public.effects`).Scan(&lines)

			return err == nil && lines == move.effects
		})
		m.leave(t)
		if !h.logged(move.said) || move.kind != 0 && len(h.of(move.kind)) != 1 || len(h.of(consume.EventRewound)) != 0 {
			t.Errorf("%s: it said\n%s", move.name, h.log.String())
		}
	}
}

// A partition that is added to a topic that the group knows begins at its beginning, whatever
// StartOffset says: nobody has seen what it holds.
func TestAddedPartitionStartsAtItsBeginning(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]consume.Mode{"with checkpoints": consume.ByEventIDAndCheckpoint, "by event id": consume.ByEventID} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 2)
			s.broker.Write(t, s.topic, events(1000, 10, 2)...) // They are there before the group is.
			atEnd := func(c *settings) { c.Start, c.Mode = consume.FromLatest, mode }
			m := s.start(t, atEnd)
			s.awaitCommitted(t, 10)
			response, err := s.broker.Client.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{
				Topics: []kafka.TopicPartitionsConfig{{Name: s.topic, Count: 3}},
			})
			if err == nil {
				err = response.Errors[s.topic]
			}
			if err != nil {
				t.Fatal(err)
			}
			s.broker.Produce(t, s.topic, events(0, 60, 3)) // At once, before the member knows the partition.
			s.awaitEffects(t, 60)
			m.leave(t)
			s.verify(t, 60)
		})
	}
}

// The group's offsets have expired: the checkpoint knows where the group began, although it has
// processed nothing since.
func TestGroupOffsetsExpired(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(1000, 10, 1)...)
	atEnd := func(c *settings) { c.Start = consume.FromLatest }
	m := s.start(t, atEnd)
	s.awaitCommitted(t, 10)
	m.leave(t)
	s.broker.Write(t, s.topic, events(0, 25, 1)...)
	s.deleteGroup(t)
	m = s.start(t, atEnd)
	s.awaitCommitted(t, 35)
	m.leave(t)
	s.verify(t, 25)
}

// deleteGroup has Kafka forget the group's offsets.
func (s *bench) deleteGroup(t *testing.T) {
	t.Helper()
	response, err := s.broker.Client.DeleteGroups(t.Context(), &kafka.DeleteGroupsRequest{GroupIDs: []string{s.group}})
	if err == nil {
		err = response.Errors[s.group]
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A second program with the same consumer name in another group would take the first one's events.
func TestSecondGroupIsRefused(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 10, 1)...)
	m := s.start(t, nil)
	s.awaitCommitted(t, 10)
	var elsewhere *idem.BindingError
	err := s.start(t, func(c *settings) { c.Group += "-two" }).wait(t)
	if !errors.As(err, &elsewhere) || elsewhere.BoundGroup != s.group || elsewhere.BoundCluster == "" {
		t.Errorf("Run returned %v", err)
	}
	s.broker.Write(t, s.topic, events(10, 10, 1)...)
	s.awaitCommitted(t, 20)
	m.leave(t)
	s.verify(t, 20)
}

// What the group has committed never passes the checkpoint: else a crash between the two would look
// like a database that lost commits.
func TestGroupNeverPassesTheCheckpoint(t *testing.T) {
	t.Parallel()
	for name, form := range forms() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			// Duplicates need no transaction each: the checkpoint is taken along.
			s.broker.Write(t, s.topic, append(events(0, 100, 1), events(0, 100, 1)...)...)
			m := s.start(t, func(c *settings) { form(c); c.CommitInterval = time.Millisecond })
			for s.committed(t) < 200 {
				group := s.committed(t)
				if at := s.checkpoint(t); at < group {
					t.Fatalf("the group is at %d, the checkpoint at %d", group, at)
				}
			}
			m.leave(t)
		})
	}
}
