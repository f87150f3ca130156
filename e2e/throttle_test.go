package e2e_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/internal/logbuffer"
	"github.com/nova-events/idempotent-consumer/ops"
)

// A broker answers a client that is over its quota at once, without topics, and says how long
// to wait.

func TestThrottledFetchIsNoErrorAndNothingIsSentBefore(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 10, 1)...)
	const throttled, wait = 6, 100 * time.Millisecond
	var asked []time.Time // Answers are made one at a time.
	enough := make(chan struct{})
	s.broker.Fake.ControlKey(int16(kmsg.Fetch), func(request kmsg.Request) (kmsg.Response, error, bool) {
		s.broker.Fake.KeepControl()
		if len(asked) <= throttled {
			asked = append(asked, time.Now())
			if len(asked) > throttled {
				close(enough)
			}
		}
		if len(asked) > throttled {
			return nil, nil, false //nolint:nilnil // The broker is to answer as ever.
		}
		answer := request.ResponseKind().(*kmsg.FetchResponse) //nolint:forcetypeassert // It is a fetch.
		answer.ThrottleMillis = int32(wait.Milliseconds())

		return answer, nil, true
	})

	told := throttledEvents{}
	m := s.start(t, told.watch)
	s.awaitEffects(t, 10)
	<-enough
	for i := range throttled {
		if gap := asked[i+1].Sub(asked[i]); gap < wait {
			t.Errorf("request %d was sent %v after an answer that said to wait %v", i+1, gap, wait)
		}
	}
	m.leave(t)
	told.verify(t, throttled)
	if e := told.first(); e.wait != wait || e.Topic != s.topic {
		t.Errorf("told %+v", e)
	}
}

// Such an answer has no record, and says nothing of the log: a request to process one again waits for the quota. It ended as expired.
func TestRequestWaitsForTheQuota(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 10, 1)...)
	const asked = 3
	var throttling, done atomic.Bool
	var requests atomic.Int32
	s.broker.Fake.ControlKey(int16(kmsg.Fetch), func(request kmsg.Request) (kmsg.Response, error, bool) {
		s.broker.Fake.KeepControl()
		fetch := request.(*kmsg.FetchRequest) //nolint:forcetypeassert // By its key.
		if !throttling.Load() || done.Load() {
			return nil, nil, false //nolint:nilnil // The broker is to answer as ever.
		}
		for _, topic := range fetch.Topics {
			if topic.Partitions[0].FetchOffset == asked && requests.Add(1) == 2 {
				done.Store(true)
			}
		}
		answer := request.ResponseKind().(*kmsg.FetchResponse) //nolint:forcetypeassert // It is a fetch.
		answer.ThrottleMillis = 100

		return answer, nil, true
	})
	m := s.start(t, func(c *settings) { c.Failure.ReplayInterval = 50 * time.Millisecond })
	s.awaitEffects(t, 10)
	throttling.Store(true)
	if _, err := s.operator(t).Reprocess(t.Context(), ops.RecordPlace{Consumer: "test", Topic: s.topic, Offset: asked}); err != nil {
		t.Fatal(err)
	}
	until(t, "the request to end", func() bool { return strings.Contains(fmt.Sprint(s.letters(t)), "ed") })
	m.leave(t)
	if got := fmt.Sprint(s.letters(t)); got != "[3 replayed 0]" || requests.Load() != 2 {
		t.Errorf("after %d throttled answers %s, want [3 replayed 0]", requests.Load(), got)
	}
}

func TestConsumerOverItsQuotaGoesOn(t *testing.T) {
	t.Parallel()
	const n, partitions = 60, 4
	s := setup(t, broker.ApacheKafka(t), partitions)
	answer, err := s.broker.Client.AlterClientQuotas(t.Context(), &kafka.AlterClientQuotasRequest{Entries: []kafka.AlterClientQuotaEntry{{
		Entities: []kafka.AlterClientQuotaEntity{{EntityType: "client-id", EntityName: s.group}},
		Ops:      []kafka.AlterClientQuotaOps{{Key: "consumer_byte_rate", Value: 450_000}},
	}}})
	if err != nil || answer.Entries[0].Error != nil {
		t.Fatal(err, answer)
	}
	records := events(0, n, partitions)
	for i := range records {
		records[i].Value = make([]byte, 100_000)
		_, _ = rand.Read(records[i].Value) // Else the producer compresses it.
	}
	s.broker.Produce(t, s.topic, records)
	told := throttledEvents{}
	m := s.start(t, told.watch)
	s.awaitEffects(t, n)
	m.leave(t)
	s.verify(t, n)
	told.verify(t, 1)
}

// throttled is a fetch whose answer says that the client is to wait.
type throttled struct {
	consume.Place

	wait time.Duration
}

// throttledEvents are what a member tells about quotas.
type throttledEvents struct {
	mu     sync.Mutex
	events []throttled
	log    logbuffer.Buffer
}

func (e *throttledEvents) watch(c *settings) {
	c.Logger = slog.New(slog.NewTextHandler(&e.log, nil))
	c.Hooks.Fetch.End = func(_ context.Context, begin consume.FetchBegin, end consume.FetchEnd) {
		if end.Throttle > 0 {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.events = append(e.events, throttled{begin.Place, end.Throttle})
		}
	}
}

func (e *throttledEvents) first() (first throttled) {
	for _, first = range e.events {
		break
	}

	return first
}

// verify checks that there was an event for each answer, but only one line of the log. The
// member must have ended.
func (e *throttledEvents) verify(t *testing.T, atLeast int) {
	t.Helper()
	if len(e.events) < atLeast {
		t.Errorf("%d events, want %d", len(e.events), atLeast)
	}
	if lines := strings.Count(e.log.String(), "throttles this client"); lines != 1 {
		t.Errorf("%d log lines about it:\n%s", lines, e.log.String())
	}
}
