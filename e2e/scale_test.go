package e2e_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// idle is for how long it is measured what a worker takes that has nothing to do.
const idle = 10 * time.Second

// A pattern matches 2,000 topics. They are consumed soon (the goal: within 10 s on a quiet machine), and the
// member stays in its generation with little to do when nothing comes (5 % of a core). The test fails only where it
// is out of all proportion, because the machine may be busy: requests one after the other, or a busy loop.
func TestManyTopics(t *testing.T) { //nolint:paralleltest // It measures.
	const topics, bearable, maxCPU = 2_000, 30 * time.Second, 0.20
	b, wire := broker.Watched(t)
	db := pgtest.NewDB(t)
	s := setupIn(t, b, 1, db.Pool(t))
	prefix := s.topic + "-of-many-"
	names := make([]string, topics)
	for i := range names {
		names[i] = fmt.Sprintf("%s%04d", prefix, i)
	}
	program := buildWorker(t)
	s.createAll(t, names, 1)
	s.produceTo(t, names, 1)

	wire.Reset()
	began := time.Now()
	w := s.startMeasured(t, program, job{DSN: db.Service, Pattern: "^" + prefix, Patient: true})
	s.awaitLines(t, topics)
	took := time.Since(began)
	t.Logf("the records of %d topics took effect after %v", topics, took)
	if took > bearable {
		t.Errorf("the records of %d topics took effect after %v, want %v", topics, took, bearable)
	}
	share := float64(s.whileIdle(t, w)) / float64(idle)
	t.Logf("the idle worker takes %.1f %% of a core", 100*share)
	if share > maxCPU {
		t.Errorf("the idle worker takes %.1f %% of a core, want at most %.0f %%", 100*share, 100*maxCPU)
	}
	s.verifyHeartbeats(t, wire)
	w.dismiss(t)
}

// A member with more idle partitions than may answer at once asks for all of them in one request: a record of one
// that is left out would be noticed only after the others have had nothing for a while.
func TestIdlePartitionsAreAllAskedFor(t *testing.T) {
	t.Parallel()
	const partitions = 100
	s := setup(t, broker.InProcess(t), partitions)
	var most atomic.Int64
	s.broker.Fake.ControlKey(int16(kmsg.Fetch), func(request kmsg.Request) (kmsg.Response, error, bool) {
		s.broker.Fake.KeepControl()
		asked := int64(0)
		for _, topic := range request.(*kmsg.FetchRequest).Topics { //nolint:forcetypeassert // It is a fetch.
			asked += int64(len(topic.Partitions))
		}
		most.Store(max(most.Load(), asked)) // Answers are made one at a time.

		return nil, nil, false //nolint:nilnil // The broker is to answer as ever.
	})
	m := s.start(t, nil)
	defer func() { t.Logf("at most %d partitions were asked for at once", most.Load()) }()
	until(t, "a request for all partitions", func() bool { return most.Load() == partitions })
	m.leave(t)
}

// One member owns 1,000 partitions, over few connections and with few goroutines: two connections fetch, and one
// does all else; each partition has a worker and reads ahead.
func TestManyPartitions(t *testing.T) { //nolint:paralleltest // It measures.
	const partitions, maxGoroutines = 1_000, 2*1_000 + 100
	maxConnections := 3
	if onFranz() {
		maxConnections = 5 // franz-go has one for each kind of request.
	}
	b, wire := broker.Watched(t)
	db := pgtest.NewDB(t)
	s := setupIn(t, b, partitions, db.Pool(t))
	program := buildWorker(t)
	s.produceTo(t, []string{s.topic}, partitions)
	b.CloseIdleConnections()
	until(t, "the test's connections to be closed", func() bool {
		open, _ := wire.Connections()

		return open == 0
	})

	wire.Reset()
	began := time.Now()
	w := s.startMeasured(t, program, job{DSN: db.Service, Patient: true})
	s.awaitLines(t, partitions)
	t.Logf("the records of %d partitions took effect after %v", partitions, time.Since(began))
	used := s.whileIdle(t, w)
	t.Logf("the idle worker takes %.1f %% of a core", 100*float64(used)/float64(idle))
	if _, most := wire.Connections(); most > maxConnections {
		t.Errorf("%d connections to one broker, want at most %d", most, maxConnections)
	}
	if n := w.usage(t).Goroutines; n > maxGoroutines {
		t.Errorf("%d goroutines for %d partitions, want at most %d", n, partitions, maxGoroutines)
	}
	s.verifyHeartbeats(t, wire)
	w.dismiss(t)
}

// awaitLines waits for the effects of n records, which share their ids.
func (s *bench) awaitLines(t *testing.T, n int) {
	t.Helper()
	var (
		lines int
		err   error
	)
	defer func() {
		if lines < n {
			t.Logf("%d records have taken effect (error %v)", lines, err)
		}
	}()
	until(t, fmt.Sprintf("%d records to take effect", n), func() bool {
		lines, _, err = s.effects(t.Context())

		return err == nil && lines >= n
	})
}

// whileIdle returns how much of the processor's time a worker takes in the time idle.
func (s *bench) whileIdle(t *testing.T, w *worker) time.Duration {
	t.Helper()
	before := w.usage(t)
	letPass(idle) // Nothing happens: that is what is measured.

	return w.usage(t).CPU - before.CPU
}

// verifyHeartbeats checks that the member has joined once, and that it has always sent heartbeats in the time
// that Kafka recommends, a third of the session timeout.
func (s *bench) verifyHeartbeats(t *testing.T, wire *broker.Wire) {
	t.Helper()
	const joins = 2 // The broker answers the first with the member's id.
	if n := len(wire.Requests(int16(kmsg.JoinGroup))); n > joins {
		t.Errorf("the member joined %d times: it has lost its generation", n)
	}
	api, session := kmsg.Heartbeat, s.broker.MinSessionTimeout
	if brokerShares() {
		api, session = kmsg.ConsumerGroupHeartbeat, 45*time.Second // The broker's default.
	}
	heartbeats := append(wire.Requests(int16(api)), time.Now())
	longest := time.Duration(0)
	for i := range heartbeats[1:] {
		longest = max(longest, heartbeats[i+1].Sub(heartbeats[i]))
	}
	if limit := session / 3; len(heartbeats) < int(idle/limit) || longest > limit {
		t.Errorf("%d heartbeats, up to %v apart, want at most %v", len(heartbeats)-1, longest, limit)
	}
}

// createAll creates topics, some at a time.
func (s *bench) createAll(t *testing.T, names []string, partitions int) {
	t.Helper()
	const atOnce = 250
	for len(names) > 0 {
		n := min(atOnce, len(names))
		request := &kafka.CreateTopicsRequest{}
		for _, name := range names[:n] {
			request.Topics = append(request.Topics, kafka.TopicConfig{Topic: name, NumPartitions: partitions, ReplicationFactor: 1})
		}
		response, err := s.broker.Client.CreateTopics(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		for name, err := range response.Errors {
			if err != nil {
				t.Fatalf("create topic %s: %v", name, err)
			}
		}
		names = names[n:]
	}
}

// produceTo writes one record to each partition of the topics.
func (s *bench) produceTo(t *testing.T, topics []string, partitions int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.broker.Addrs...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var records []*kgo.Record
	for _, topic := range topics {
		for _, m := range events(0, partitions, partitions) {
			records = append(records, &kgo.Record{
				Topic: topic, Partition: int32(m.Partition), Key: m.Key, Value: m.Value,
				Headers: []kgo.RecordHeader{{Key: m.Headers[0].Key, Value: m.Headers[0].Value}},
			})
		}
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}
