package e2e_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/ops"
)

var errPoison = errors.New("it is poison")

// refuser is a handler that fails for the poisoned records until they are said to be healed.
type refuser struct{ healed atomic.Bool }

func (r *refuser) handle(ctx context.Context, tx pgx.Tx, m consume.Message) error {
	if err := record(ctx, tx, m); err != nil {
		return err
	}
	if strings.HasPrefix(string(m.Value), "poison") && !r.healed.Load() {
		if string(m.Value) == "poison for ever" {
			return consume.Permanent(errPoison)
		}

		return errPoison
	}

	return nil
}

// letters returns "offset state attempts" of all dead letters.
func (s *bench) letters(t *testing.T) []string {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), `SELECT concat(record_offset, ' ', state, ' ', attempts) FROM idem.dead_letters ORDER BY record_offset, id`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}

	return all
}

// operator returns what operators use beside the consumer.
func (s *bench) operator(t *testing.T) *ops.Client {
	t.Helper()
	client, err := ops.New(cmp.Or(s.owner, s.pool), ops.Config{})
	if err != nil {
		t.Fatal(err)
	}

	return client
}

func (s *bench) askForReplay(t *testing.T) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), `UPDATE idem.dead_letters SET state = 'replay' WHERE state = 'open'`); err != nil {
		t.Fatal(err)
	}
}

// Records that cannot be processed are stored, in their transactions, and the others go on. What
// is replayed takes effect once.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		for name, mode := range map[string]consume.Mode{
			"keys and offsets": consume.ByEventIDAndCheckpoint, "keys": consume.ByEventID, "offsets": consume.ByCheckpoint,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := setup(t, b, 1)
				records := events(0, 10, 1)
				records[2].Value, records[4].Value = []byte("poison"), []byte("poison for ever")
				want := []string{"2 open 2", "4 open 1"}
				if mode != consume.ByCheckpoint {
					records[5].Headers = nil
					records[6].Headers[0].Value = []byte("\xff\x00")
					want = append(want, "5 open 0", "6 open 0")
				}
				s.broker.Write(t, s.topic, records...)
				var handler refuser
				config := func(c *settings) {
					c.Mode, c.Failure.Retry.MaxAttempts, c.Handle, c.Failure.ReplayInterval = mode, 2, handler.handle, 50*time.Millisecond
				}
				m := s.start(t, config)
				s.awaitCommitted(t, 10)
				if got := s.letters(t); !slices.Equal(got, want) {
					t.Errorf("letters %q, want %q", got, want)
				}
				if lines, _, err := s.effects(t.Context()); err != nil || lines != 10-len(want) {
					t.Errorf("%d effects, %v", lines, err)
				}

				// They fail again; those without an event id without a run of the handler.
				s.askForReplay(t)
				want[0], want[1] = "2 open 4", "4 open 2"
				until(t, "the replays to fail", func() bool { return slices.Equal(s.letters(t), want) })
				handler.healed.Store(true)
				m.leave(t)
				s.askForReplay(t)
				m = s.start(t, func(c *settings) {
					config(c)
					c.EventID = func(record consume.Record) (string, error) { // The strategy is corrected.
						id, err := consume.Header(consume.DefaultEventIDHeader)(record)
						if err != nil || id == "\xff\x00" {
							return fmt.Sprint("corrected ", record.Offset), nil //nolint:nilerr // That is what it is for.
						}

						return id, nil
					}
					c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
						if (m.EventID == "") != (mode == consume.ByCheckpoint) || m.DeadLetter == "" {
							t.Errorf("the handler runs for the event id %q of dead letter %q", m.EventID, m.DeadLetter)
						}

						return handler.handle(ctx, tx, m)
					}
				})
				until(t, "all dead letters to be replayed", func() bool {
					return !slices.ContainsFunc(s.letters(t), func(l string) bool { return !strings.Contains(l, "replayed") })
				})
				m.leave(t)
				var lines, distinct int
				err := s.pool.QueryRow(t.Context(), `SELECT count(*), count(DISTINCT "offset") FROM public.effects`).Scan(&lines, &distinct)
				if err != nil || lines != 10 || distinct != 10 {
					t.Errorf("%d records took effect %d times, %v; want 10 once", distinct, lines, err)
				}
			})
		}
	})
}

// The records of a key keep their order although one of them fails for a while.
func TestParkedKeys(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	records := events(0, 20, 1)
	for i := range records {
		records[i].Key = []byte{"abcd"[i%4]}
	}
	records[1].Value = []byte("poison") // Key b.
	records[3].Key, records[7].Key = nil, nil
	records[3].Value = []byte("poison") // No key.
	s.broker.Write(t, s.topic, records...)
	var handler refuser
	config := func(c *settings) {
		c.Failure.Retry.MaxAttempts, c.Handle, c.Failure.ReplayInterval, c.Failure.ParkKeys = 1, handler.handle, 50*time.Millisecond, true
	}
	m := s.start(t, config)
	s.awaitCommitted(t, 20)
	if got, want := s.letters(t), []string{"1 open 1", "3 open 1", "5 parked 0", "9 parked 0", "13 parked 0", "17 parked 0"}; !slices.Equal(got, want) {
		t.Errorf("letters %q, want %q", got, want)
	}
	m.leave(t)
	m = s.start(t, config) // The next owner knows of them, too.
	s.broker.Write(t, s.topic, kafka.Message{Key: []byte("b"), Headers: events(20, 1, 1)[0].Headers})
	s.awaitCommitted(t, 21)

	handler.healed.Store(true)
	s.askForReplay(t)
	s.awaitEffects(t, 21)
	// The key is free again.
	written := int64(21)
	until(t, "the key to be free", func() bool {
		written++
		s.broker.Write(t, s.topic, kafka.Message{Key: []byte("b"), Value: []byte("free"), Headers: events(21, 1, 1)[0].Headers})
		s.awaitCommitted(t, written)
		_, distinct, err := s.effects(t.Context())

		return err == nil && distinct == 22
	})
	m.leave(t)
	rows, err := s.pool.Query(t.Context(), `SELECT "offset" FROM public.effects WHERE "offset" IN (1, 5, 9, 13, 17, 20) ORDER BY seq`)
	if err != nil {
		t.Fatal(err)
	}
	order, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil || fmt.Sprint(order) != "[1 5 9 13 17 20]" {
		t.Errorf("the records of the key took effect in the order %v, %v", order, err)
	}
}

// A failed record is copied to the topic for dead letters, with headers that others understand.
func TestDeadLetterTopic(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 2)
		s.create(t, s.topic+"-dlt", 2)
		records := events(0, 10, 2)
		records[3].Value = []byte("poison for ever")
		b.Write(t, s.topic, records...)
		m := s.start(t, func(c *settings) {
			c.Handle, c.Failure.DeadLetterSuffix = (&refuser{}).handle, "-dlt"
			c.Topics, c.TopicPattern = nil, regexp.MustCompile(regexp.QuoteMeta(s.topic))
		})
		s.awaitCommitted(t, 10)
		m.leave(t)
		copies := b.Log(t, s.topic+"-dlt", 1)
		if len(copies) != 1 || string(copies[0].Value) != "poison for ever" || string(copies[0].Key) != "k3" {
			t.Fatalf("copies: %+v", copies)
		}
		headers := map[string]string{}
		for _, h := range copies[0].Headers {
			headers[h.Key] = string(h.Value)
		}
		for key, want := range map[string]string{
			consume.DefaultEventIDHeader: "3",
			"kafka_dlt-original-topic":   s.topic, "__connect.errors.topic": s.topic,
			"kafka_dlt-original-partition": "\x00\x00\x00\x01", "__connect.errors.partition": "1",
			"kafka_dlt-original-offset": "\x00\x00\x00\x00\x00\x00\x00\x01", "__connect.errors.offset": "1",
			"kafka_dlt-original-consumer-group": s.group, "kafka_dlt-exception-fqcn": "*errors.errorString",
			"kafka_dlt-exception-message": "idem: handler failed: it is poison",
		} {
			if headers[key] != want {
				t.Errorf("header %s is %q, want %q", key, headers[key], want)
			}
		}
	})
}
