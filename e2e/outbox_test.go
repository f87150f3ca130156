package e2e_test

import (
	"context"
	"crypto/rand"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// startRelay starts a relay to the bench's brokers, which ends with the test.
func (s *bench) startRelay(t *testing.T) (stop func()) {
	t.Helper()

	return s.startRelayWith(t, outbox.Config{Poll: 10 * time.Millisecond})
}

func (s *bench) startRelayWith(t *testing.T, config outbox.Config) (stop func()) {
	t.Helper()
	producer, closeProducer, err := newProducer(s.broker.Addrs)
	if err != nil {
		t.Fatal(err)
	}
	relay, err := outbox.NewRelay(s.pool, producer, config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- relay.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run returned %v", err)
			}
		case <-time.After(patience):
			t.Error("a relay does not stop")
		}
		closeProducer()
	})
	t.Cleanup(stop)

	return stop
}

func (s *bench) publish(t *testing.T, records ...outbox.Record) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), s.pool, func(tx pgx.Tx) error { return outbox.Publish(t.Context(), tx, records...) })
	if err != nil {
		t.Fatal(err)
	}
}

// outgoing are n records of some keys, whose values are numbers.
func (s *bench) outgoing(first, n, keys int) []outbox.Record {
	records := make([]outbox.Record, n)
	for i := range records {
		records[i] = outbox.Record{Topic: s.topic, Key: []byte("k" + strconv.Itoa(i%keys)), Value: []byte(strconv.Itoa(first + i))}
	}

	return records
}

// inOutbox counts the rows for which a condition holds.
func (s *bench) inOutbox(t *testing.T, condition string) (n int) {
	t.Helper()
	if err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM idem.outbox WHERE `+condition).Scan(&n); err != nil {
		t.Fatal(err)
	}

	return n
}

func (s *bench) awaitNoneInOutbox(t *testing.T, condition string) {
	t.Helper()
	until(t, "no row with "+condition+" in the outbox", func() (some bool) {
		if err := s.pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM idem.outbox WHERE `+condition+`)`).Scan(&some); err != nil {
			t.Fatal(err)
		}

		return !some
	})
}

// relayed are the records of all partitions.
func (s *bench) relayed(t *testing.T, partitions int) (records []*kgo.Record) {
	t.Helper()
	for p := range partitions {
		records = append(records, s.broker.Log(t, s.topic, p)...)
	}

	return records
}

// verifyRelayed checks that the numbers from 0 to n came, for the first time in the order of their keys. It returns how many came
// more than once.
func verifyRelayed(t *testing.T, records []*kgo.Record, n int) (again int) {
	t.Helper()
	last, ids := map[string]int{}, map[int]string{}
	for _, r := range records {
		number, err := strconv.Atoi(string(r.Value))
		if err != nil {
			t.Fatal(err)
		}
		id := ""
		for _, h := range r.Headers {
			if h.Key == consume.DefaultEventIDHeader {
				id = string(h.Value)
			}
		}
		if known, came := ids[number]; came {
			again++
			if id != known {
				t.Errorf("record %d came with the event ids %q and %q", number, known, id)
			}

			continue
		}
		ids[number] = id
		if before, ok := last[string(r.Key)]; ok && number < before {
			t.Errorf("record %d of key %s came after %d", number, r.Key, before)
		}
		last[string(r.Key)] = number
	}
	if len(ids) != n {
		t.Errorf("%d records came, want %d", len(ids), n)
	}

	return again
}

// What is published comes to Kafka, in the order of its keys and in the partitions of Kafka's own client.
func TestOutbox(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		const partitions, n, keys = 4, 5_000, 50
		s := setup(t, b, partitions)
		stop := s.startRelay(t)
		for first := 0; first < n; first += n / 10 {
			s.publish(t, s.outgoing(first, n/10, keys)...)
		}
		s.publish(t, outbox.Record{Topic: s.topic, Value: []byte(strconv.Itoa(n))}, outbox.Record{Topic: s.topic, Key: []byte("gone")})
		s.awaitNoneInOutbox(t, "true")
		stop()

		records := s.relayed(t, partitions)
		java := kgo.StickyKeyPartitioner(nil).ForTopic(s.topic)
		for i, r := range records {
			if want := java.Partition(r, partitions); r.Key != nil && int(r.Partition) != want {
				t.Fatalf("key %s is in partition %d, want %d", r.Key, r.Partition, want)
			}
			if string(r.Key) == "gone" {
				if r.Value != nil {
					t.Errorf("a tombstone came as %q", r.Value)
				}
				records = append(records[:i:i], records[i+1:]...)

				break
			}
		}
		if again := verifyRelayed(t, records, n+1); again > 0 {
			t.Errorf("%d records came twice although nothing failed", again)
		}
	})
}

// A record that Kafka refuses is failed, the others of its key are parked, those of other keys go on, though a broker refuses whole
// batches. Once somebody has decided, the parked ones follow in their order.
func TestOutboxRefusedRecord(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		limit := "2000"
		s := setup(t, b, 1)
		s.topic = b.CreateTopic(t, 1, broker.Settings{"max.message.bytes": limit})
		const n, keys = 100, 10
		records := s.outgoing(0, n, keys)
		poison := records[15] // of key k5, after number 5
		records[15].Value = make([]byte, 5_000)
		_, _ = rand.Read(records[15].Value) // It cannot be compressed. It never fails.
		s.startRelay(t)
		s.publish(t, records...)
		s.awaitNoneInOutbox(t, "state IS NULL")
		s.publish(t, s.outgoing(n, keys, keys)...)
		s.awaitNoneInOutbox(t, "state IS NULL")
		if failed, parked := s.inOutbox(t, "state = 'failed'"), s.inOutbox(t, "state = 'parked'"); failed != 1 || parked != 9 {
			t.Fatalf("%d are failed and %d parked, want 1 and 9", failed, parked)
		}
		if _, err := s.owner.Exec(t.Context(), `UPDATE idem.outbox SET state = 'retry', value = $1 WHERE state = 'failed'`, poison.Value); err != nil {
			t.Fatal(err)
		}
		s.awaitNoneInOutbox(t, "true")
		if again := verifyRelayed(t, s.relayed(t, 1), n+keys); again > 0 {
			t.Errorf("%d records came twice", again)
		}
	})
}

// A topic that is missing holds up none of the others, and gets its records when it is there.
func TestOutboxOfMissingTopic(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 2)
		present, missing := s.topic, broker.Name(t)
		s.startRelay(t)
		s.topic = missing
		s.publish(t, s.outgoing(0, 100, 10)...)
		s.topic = present
		s.publish(t, s.outgoing(0, 100, 10)...)
		s.awaitNoneInOutbox(t, "topic = '"+present+"'")
		s.create(t, missing, 2)
		s.awaitNoneInOutbox(t, "true")
		verifyRelayed(t, s.relayed(t, 2), 100)
		s.topic = missing
		verifyRelayed(t, s.relayed(t, 2), 100)
	})
}

// While brokers are away or restart, records wait; they come in their order.
func TestOutboxWhileBrokersAreAway(t *testing.T) {
	t.Parallel()
	broker.EachFaulty(t, 1, func(t *testing.T, c *broker.Faulty) {
		const partitions, n = 3, 3_000
		s := setup(t, c.Broker, partitions)
		s.startRelay(t)
		s.publish(t, s.outgoing(0, n, 50)...)
		only := c.Leader(t, s.topic, 0)
		c.Kill(t, only)
		s.publish(t, s.outgoing(n, n, 50)...)
		c.Recover(t, only)
		s.awaitNoneInOutbox(t, "true")
		s.publish(t, s.outgoing(2*n, n, 50)...)
		c.Restart(t, only)
		s.awaitNoneInOutbox(t, "true")
		again := verifyRelayed(t, s.relayed(t, partitions), 3*n)
		t.Logf("%d of %d records came again", again, 3*n)
	})
}

// The turn of the relay is over while the client asks who leads, because the broker that it knew does not any more.
func TestProducerReturnsWhenItsTurnIsOver(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	topic := b.CreateTopic(t, 1, nil)
	turn, end := context.WithCancel(t.Context())
	defer end()
	var refused atomic.Bool
	b.Fake.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		refused.Store(true)
		response := request.ResponseKind().(*kmsg.ProduceResponse) //nolint:forcetypeassert // It is what the key says.
		for _, of := range request.(*kmsg.ProduceRequest).Topics { //nolint:forcetypeassert // As above.
			topic := kmsg.NewProduceResponseTopic()
			topic.Topic, topic.TopicID = of.Topic, of.TopicID
			for _, p := range of.Partitions {
				partition := kmsg.NewProduceResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, kerr.NotLeaderForPartition.Code
				topic.Partitions = append(topic.Partitions, partition)
			}
			response.Topics = append(response.Topics, topic)
		}

		return response, nil, true
	})
	b.Fake.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		if refused.Load() {
			end()
		}

		return nil, nil, false //nolint:nilnil // The broker answers.
	})
	producer, closeProducer, err := newProducer(b.Addrs)
	if err != nil {
		t.Fatal(err)
	}
	defer closeProducer()
	returned := make(chan []error, 1)
	go func() { returned <- producer.Produce(turn, []outbox.Record{{Topic: topic, Value: []byte("1")}}) }()
	select {
	case errs := <-returned:
		if errs[0] == nil {
			t.Error("a record that no leader took is acknowledged")
		}
	case <-time.After(patience):
		t.Error("Produce does not return")
	}
}
