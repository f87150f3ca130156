package e2e_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/ops"
)

// A member that leaves in order while it replays a dead letter has not been killed by it.
func TestOrderlyEndsOfReplaysAreNoStarts(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	records := events(0, 3, 1)
	records[1].Value = []byte("poison for ever")
	s.broker.Write(t, s.topic, records...)
	var handler refuser
	config := func(c *settings) {
		c.Handle, c.Failure.ReplayInterval, c.Failure.MaxStarts, c.DrainTimeout = handler.handle, 50*time.Millisecond, 2, 200*time.Millisecond
	}
	m := s.start(t, config)
	s.awaitCommitted(t, 3)
	m.leave(t)
	s.askForReplay(t)
	for range 3 {
		began := make(chan struct{}, 1)
		m = s.start(t, func(c *settings) {
			config(c)
			c.Handle = func(ctx context.Context, _ pgx.Tx, _ consume.Message) error {
				began <- struct{}{}
				<-ctx.Done()

				return ctx.Err()
			}
		})
		until(t, "the replay to begin", func() bool { return len(began) > 0 })
		m.leave(t)
	}
	handler.healed.Store(true)
	m = s.start(t, config)
	until(t, "the dead letter to be replayed", func() bool { return fmt.Sprint(s.letters(t)) == "[1 replayed 1]" })
	m.leave(t)
}

// Members that leave in order while the handler of a record runs have not been killed by it.
func TestOrderlyEndsAreNoStarts(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	config := func(c *settings) { c.Failure.MaxStarts, c.DrainTimeout = 2, 200*time.Millisecond }
	s.broker.Write(t, s.topic, events(0, 1, 1)...)
	for range 3 {
		began := make(chan struct{}, 1)
		m := s.start(t, func(c *settings) {
			config(c)
			c.Handle = func(ctx context.Context, _ pgx.Tx, _ consume.Message) error {
				began <- struct{}{}
				<-ctx.Done()

				return ctx.Err()
			}
		})
		until(t, "the handler to run", func() bool { return len(began) > 0 })
		m.leave(t)
	}
	s.start(t, config).leaveAt(t, s, 1)
	s.verifyOnce(t, 1)
}

// A member hangs in the replay of a dead letter and another one joins: what is produced meanwhile is not
// held up for longer than a record that hangs would.
func TestReplayThatHangsDoesNotHoldThePartition(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	records := events(0, 3, 1)
	records[1].Value = []byte("poison for ever")
	s.broker.Write(t, s.topic, records...)
	var handler refuser
	config := func(c *settings) {
		c.Handle, c.Failure.ReplayInterval, c.DrainTimeout = handler.handle, 50*time.Millisecond, 200*time.Millisecond
	}
	began, thaw := make(chan struct{}), make(chan struct{})
	wake := sync.OnceFunc(func() { close(thaw) })
	defer wake()
	frozen := s.start(t, func(c *settings) {
		config(c)
		c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			if m.DeadLetter == "" {
				return handler.handle(ctx, tx, m)
			}
			close(began)
			<-thaw // As a process that is frozen: it heeds no context.

			return record(ctx, tx, m)
		}
	})
	s.awaitCommitted(t, 3)
	s.askForReplay(t)
	<-began
	handler.healed.Store(true)
	m := s.start(t, config)
	frozen.stop()
	s.broker.Write(t, s.topic, events(3, 10, 1)...)
	s.awaitEffects(t, 13)
	until(t, "the dead letter to be replayed", func() bool { return fmt.Sprint(s.letters(t)) == "[1 replayed 1]" })
	wake()
	frozen.leave(t)
	m.leave(t)
	s.verifyOnce(t, 13)
}

// A record that was parked has not failed: its copy is made when it does.
func TestParkedRecordThatFailsInItsReplayIsCopied(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.create(t, s.topic+"-dlt", 1)
	records := events(0, 3, 1)
	for i := range records {
		records[i].Key, records[i].Value = []byte("k"), []byte("poison for ever")
	}
	s.broker.Write(t, s.topic, records...)
	m := s.start(t, func(c *settings) {
		c.Handle, c.Failure.DeadLetterSuffix, c.Failure.ParkKeys, c.Failure.ReplayInterval = (&refuser{}).handle, "-dlt", true, 50*time.Millisecond
	})
	s.awaitCommitted(t, 3)
	if n := len(s.broker.Log(t, s.topic+"-dlt", 0)); n != 1 {
		t.Errorf("%d copies before the parked records failed, want 1", n)
	}
	client := s.operator(t)
	plan, err := client.PlanDiscard(t.Context(), ops.DeadLetterChoice{Filter: ops.DeadLetterFilter{States: []idem.DeadLetterState{idem.DeadLetterOpen}}})
	if err == nil {
		_, err = client.DiscardDeadLetters(t.Context(), plan, nil)
	}
	if err != nil || len(plan.DeadLetters) != 1 {
		t.Fatal(plan, err)
	}
	until(t, "the parked record to fail", func() bool {
		return slices.Equal(s.letters(t), []string{"0 discarded 1", "1 open 1", "2 parked 0"})
	})
	s.askForReplay(t) // It has its copy already.
	until(t, "it to fail again", func() bool {
		return slices.Equal(s.letters(t), []string{"0 discarded 1", "1 open 2", "2 parked 0"})
	})
	m.leave(t)
	var offsets []string
	for _, copied := range s.broker.Log(t, s.topic+"-dlt", 0) {
		for _, h := range copied.Headers {
			if h.Key == "__connect.errors.offset" {
				offsets = append(offsets, string(h.Value))
			}
		}
	}
	if fmt.Sprint(offsets) != "[0 1]" {
		t.Errorf("copies of the records %v, want [0 1]", offsets)
	}
}

// For a moment the broker's answers do not tell of the dead-letter topic's partitions.
func TestDeadLetterIsCopiedAlthoughMetadataIsMissing(t *testing.T) {
	kafkaGoOnly(t, "the lie is told to who asks for the leaders of all topics")
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.create(t, s.topic+"-dlt", 1)
	records := events(0, 3, 1)
	records[1].Value = []byte("poison for ever")
	s.broker.Write(t, s.topic, records...)
	address := netip.MustParseAddrPort(s.broker.Addrs[0])
	var lies atomic.Int32
	s.broker.Fake.ControlKey(int16(kmsg.Metadata), func(request kmsg.Request) (kmsg.Response, error, bool) {
		s.broker.Fake.KeepControl()
		asked := request.(*kmsg.MetadataRequest) //nolint:forcetypeassert // By its key.
		named := slices.ContainsFunc(asked.Topics, func(topic kmsg.MetadataRequestTopic) bool {
			return topic.Topic != nil && *topic.Topic == s.topic+"-dlt"
		})
		// The leaders of both topics are asked for before anything is produced.
		if len(asked.Topics) != 2 || !named || lies.Add(1) > 3 {
			return nil, nil, false //nolint:nilnil // The broker is to answer as ever.
		}
		response := asked.ResponseKind().(*kmsg.MetadataResponse) //nolint:forcetypeassert // By its key.
		node := kmsg.NewMetadataResponseBroker()
		node.Host, node.Port = address.Addr().String(), int32(address.Port())
		response.Brokers = append(response.Brokers, node)
		for _, topic := range asked.Topics {
			answer := kmsg.NewMetadataResponseTopic()
			answer.Topic = topic.Topic
			if *topic.Topic == s.topic {
				partition := kmsg.NewMetadataResponseTopicPartition()
				partition.Replicas, partition.ISR = []int32{0}, []int32{0}
				answer.Partitions = append(answer.Partitions, partition)
			}
			response.Topics = append(response.Topics, answer)
		}

		return response, nil, true
	})
	m := s.start(t, func(c *settings) { c.Handle, c.Failure.DeadLetterSuffix = (&refuser{}).handle, "-dlt" })
	s.awaitCommitted(t, 3)
	m.leave(t)
	if n := len(s.broker.Log(t, s.topic+"-dlt", 0)); n != 1 || lies.Load() == 0 {
		t.Errorf("%d copies after %d answers without the partition, want 1", n, lies.Load())
	}
}

// One record is processed again in a running service, in every mode, and nothing else is; a record that
// has expired ends the request.
func TestOneRecordIsProcessedAgain(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]consume.Mode{
		"both": consume.ByEventIDAndCheckpoint, "event id": consume.ByEventID, "checkpoint": consume.ByCheckpoint,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := broker.InProcess(t)
			s := setup(t, b, 1)
			b.Write(t, s.topic, events(0, 20, 1)...)
			var handler refuser
			m := s.start(t, func(c *settings) {
				c.Mode, c.Failure.ReplayInterval, c.Handle = mode, 50*time.Millisecond, handler.handle
				c.Failure.MaxStarts = 1 // That the record is read for it is no start.
			})
			s.awaitCommitted(t, 20)
			until(t, "the checkpoint to be there", func() bool {
				return mode == consume.ByEventID || s.checkpoint(t) == 20
			})
			client := s.operator(t)
			ask := func(offset int64) {
				t.Helper()
				if _, err := client.Reprocess(t.Context(), ops.RecordPlace{Consumer: "test", Topic: s.topic, Offset: offset}); err != nil {
					t.Fatal(err)
				}
			}
			ask(7)
			until(t, "the record to be processed again", func() bool { return fmt.Sprint(s.letters(t)) == "[7 replayed 0]" })
			b.DeleteRecords(t, s.topic, 0, 5)
			ask(3)
			until(t, "the request to end", func() bool { return fmt.Sprint(s.letters(t)) == "[3 expired 0 7 replayed 0]" })
			m.leave(t)
			var again, lines int
			err := s.pool.QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE "offset" = 7), count(*) FROM public.effects`).Scan(&again, &lines)
			if err != nil || again != 2 || lines != 21 {
				t.Errorf("the record took effect %d times, all of them %d, %v; want 2 and 21", again, lines, err)
			}
		})
	}
}
