package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
)

// Every record takes effect once, whatever it is compressed with, and comes from the producer
// only once though it was produced twice.
func TestEachEventTakesEffectOnce(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 3)
		codecs := []kgo.CompressionCodec{
			kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
		}
		const each = 300
		for range 2 {
			for i, codec := range codecs {
				b.Produce(t, s.topic, events(i*each, each, 3), kgo.ProducerBatchCompression(codec))
			}
		}
		m := s.start(t, nil)
		s.awaitCommitted(t, int64(2*each*len(codecs)))
		m.leave(t)
		s.verify(t, each*len(codecs))

		// Another member of the group has nothing left to do.
		b.Write(t, s.topic, events(10_000, 1, 3)...)
		s.start(t, nil)
		s.awaitEffects(t, each*len(codecs)+1)
		s.verify(t, each*len(codecs)+1)
	})
}

func TestEventIDStrategies(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	for name, test := range map[string]struct {
		strategy consume.EventID
		want     func(topic string) []string
	}{
		"header": {nil, func(string) []string { return []string{"0", "1"} }},
		"field":  {consume.PayloadField("id"), func(string) []string { return []string{"0", "1"} }},
		"hash": {consume.ContentHash(), func(string) []string {
			return []string{
				"sha256:14a36ef36b60cfbe345a0c1830886f4093aacf2a4fe64991aa977d6a49988359",
				"sha256:5811967f540d300d249ab30ae681359a7815fdb5d3dc71a94be1d491006a6b27",
			}
		}},
		"place": {consume.TopicPartitionOffset(), func(topic string) []string {
			return []string{topic + "-0-0", topic + "-0-1", topic + "-0-2"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, b, 1)
			b.Write(t, s.topic, append(events(0, 2, 1), events(0, 1, 1)...)...)
			m := s.start(t, func(c *settings) { c.EventID = test.strategy })
			s.awaitCommitted(t, 3)
			m.leave(t)
			rows, err := s.pool.Query(t.Context(), `SELECT event_id FROM public.effects ORDER BY seq`)
			if err != nil {
				t.Fatal(err)
			}
			got, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatal(err)
			}
			if want := test.want(s.topic); !slices.Equal(got, want) {
				t.Errorf("events %q, want %q", got, want)
			}
		})
	}
}

// A strategy returns what it has of an id beside its error, as one does that ends with return "order-" + order.ID, err. Where that was taken
// for the id, the first of these records became a dead letter, and the others passed for its duplicates.
func TestEventIDBesideAnError(t *testing.T) {
	t.Parallel()
	for name, form := range forms() {
		if name == "checkpoint alone" {
			continue // It asks no strategy.
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			s.broker.Write(t, s.topic, events(0, 8, 1)...)
			m := s.start(t, func(c *settings) {
				form(c)
				c.EventID = func(record consume.Record) (string, error) {
					if record.Offset%2 == 0 {
						return "order-", errors.New("unexpected end of JSON input")
					}

					return fmt.Sprint("order-", record.Offset), nil
				}
			})
			s.awaitCommitted(t, 8)
			m.leave(t)
			s.verifyOnce(t, 4)
			if got, want := s.letters(t), []string{"0 open 0", "2 open 0", "4 open 0", "6 open 0"}; !slices.Equal(got, want) {
				t.Errorf("letters %q, want %q", got, want)
			}
		})
	}
}

// What Kafka knows of a record is stored with its event if that is wanted, and not otherwise.
func TestMetadataIsStored(t *testing.T) {
	t.Parallel()
	for _, wanted := range []bool{true, false} {
		t.Run(strconv.FormatBool(wanted), func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			s.broker.Write(t, s.topic, events(7, 3, 1)...) // The first alone, then two together.
			m := s.start(t, func(c *settings) { c.StoreMetadata = wanted })
			s.awaitCommitted(t, 3)
			m.leave(t)
			guard, err := idem.New(s.pool, idem.Config{Consumer: "test"})
			if err != nil {
				t.Fatal(err)
			}
			for n := 7; n < 10; n++ {
				event, err := guard.Lookup(t.Context(), strconv.Itoa(n))
				metadata := string(event.Metadata)
				stored := strings.Contains(metadata, `"topic": "`+s.topic+`"`) && strings.Contains(metadata, fmt.Sprintf(`"key": "k%d"`, n))
				if err != nil || stored != wanted || !wanted && metadata != "" {
					t.Errorf("event %d: %q, %v", n, metadata, err)
				}
			}
		})
	}
}

func TestUncommittedRecordsAreNotDelivered(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 1)
		b.ProduceTransaction(t, s.topic, kgo.TryAbort, events(1000, 50, 1))
		b.ProduceTransaction(t, s.topic, kgo.TryCommit, events(0, 50, 1))
		b.Produce(t, s.topic, events(50, 50, 1))
		b.ProduceTransaction(t, s.topic, kgo.TryAbort, events(2000, 50, 1), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
		m := s.start(t, nil)
		s.awaitCommitted(t, 203) // the records and the markers of three transactions
		m.leave(t)
		s.verify(t, 100)
	})
}

// A handler that fails is tried again in its place; other partitions go on meanwhile.
func TestFailedHandlerIsTriedAgain(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 2)
	s.broker.Write(t, s.topic, events(0, 20, 2)...)
	var others atomic.Int32
	m := s.start(t, func(c *settings) {
		c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			if err := record(ctx, tx, m); err != nil {
				return err
			}
			if m.Partition == 1 {
				others.Add(1)
			}
			if m.EventID == "4" && (m.Attempt < 3 || others.Load() < 10) {
				return fmt.Errorf("attempt %d of event 4 fails", m.Attempt)
			}

			return nil
		}
		c.Failure.Retry.MaxAttempts = 20
	})
	s.awaitCommitted(t, 20)
	m.leave(t)
	s.verify(t, 20)
	var attempt int
	if err := s.pool.QueryRow(t.Context(), `SELECT attempt FROM public.effects WHERE event_id = '4'`).Scan(&attempt); err != nil {
		t.Fatal(err)
	}
	if attempt < 3 {
		t.Errorf("event 4 took effect at attempt %d", attempt)
	}
}

// A record that cannot be processed ends the consumer and is neither skipped nor lost.
func TestRecordThatCannotBeProcessed(t *testing.T) {
	t.Parallel()
	errBoom := errors.New("boom")
	for name, test := range map[string]struct {
		spoil    func(*kafka.Message)
		want     error
		attempts int
	}{
		"handler fails": {func(m *kafka.Message) { m.Value = []byte("poison") }, errBoom, 2},
		"no event id":   {func(m *kafka.Message) { m.Headers = nil }, consume.ErrNoEventID, 0},
		"bad event id":  {func(m *kafka.Message) { m.Headers[0].Value = []byte("\xff") }, idem.ErrInvalidEventID, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			records := events(0, 10, 1)
			test.spoil(&records[6])
			s.broker.Write(t, s.topic, records...)
			fail := func(c *settings) {
				c.Failure.Retry.MaxAttempts, c.Failure.Policy = 2, consume.StopOnFailure
				c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
					if string(m.Value) == "poison" {
						return errBoom
					}

					return record(ctx, tx, m)
				}
			}
			for range 2 { // The second time it stands before the same record.
				err := s.start(t, fail).wait(t)
				var recordErr *consume.RecordError
				if !errors.As(err, &recordErr) || !errors.Is(err, test.want) {
					t.Fatalf("Run returned %v", err)
				}
				if recordErr.Topic != s.topic || recordErr.Partition != 0 || recordErr.Offset != 6 || recordErr.Attempts != test.attempts {
					t.Errorf("%+v", recordErr)
				}
				s.awaitCommitted(t, 6)
			}
			s.verify(t, 6)

			// Mended, the consumer goes on where it stood.
			mended := s.start(t, func(c *settings) {
				c.EventID = func(m consume.Record) (string, error) { return fmt.Sprint("mended-", m.Offset), nil }
			})
			s.awaitCommitted(t, 10)
			mended.leave(t)
			s.verify(t, 10)
		})
	}
}

// A group that starts at the end of the log remembers where that was, even if nothing came
// until the next member took over.
func TestStartAtTheEnd(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 1)
		b.Write(t, s.topic, events(0, 10, 1)...)
		atTheEnd := func(c *settings) { c.Start = consume.FromLatest }
		m := s.start(t, atTheEnd)
		s.awaitCommitted(t, 10)
		m.leave(t)
		b.Write(t, s.topic, events(10, 10, 1)...)
		s.start(t, atTheEnd)
		s.awaitEffects(t, 10)
		s.verify(t, 10)
	})
}
