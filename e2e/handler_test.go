package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// spoil leaves nothing as it was in what a batch handler was given.
func spoil(batch []consume.Message) {
	for i := range batch {
		spoilOne(&batch[i])
	}
	slices.Reverse(batch)
	for i := range batch {
		batch[i] = consume.Message{EventID: "spoiled"}
	}
}

func spoilOne(m *consume.Message) {
	m.Key = append(m.Key[:0], "spoiled, and longer than before"...)
	m.Value = append(m.Value[:0], bytes.Repeat([]byte("spoiled"), 10)...)
	for i := range m.Headers {
		clear(m.Headers[i].Value)
		m.Headers[i].Key = "spoiled"
	}
	m.Headers = append(m.Headers, consume.RecordHeader{Key: "spoiled"})
}

// letterRecords returns the records of all dead letters as they were stored.
func (s *bench) letterRecords(t *testing.T) []kafka.Message {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), `SELECT record_offset, record_key, record_value, header_keys[1], header_values[1], cardinality(header_keys)
		FROM idem.dead_letters ORDER BY record_offset`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m kafka.Message, err error) {
		var key []byte
		var headers int
		m.Headers = make([]kafka.Header, 1)
		err = row.Scan(&m.Offset, &m.Key, &m.Value, &key, &m.Headers[0].Value, &headers)
		m.Headers[0].Key = string(key)
		if headers != 1 {
			err = fmt.Errorf("%d headers", headers)
		}

		return m, err
	})
	if err != nil {
		t.Fatal(err)
	}

	return all
}

// A batch handler sorts, filters, truncates, overwrites or keeps its slice: each event takes effect
// once all the same, and the record at fault is the dead letter, as it was fetched.
func TestBatchHandlerOwnsItsSlice(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	errDeadlock := &pgconn.PgError{Code: "40P01", Message: "deadlock detected"}
	type held = atomic.Pointer[[]consume.Message] // the batch before
	for name, mangle := range map[string]func(batch []consume.Message, kept *held) []consume.Message{
		"sorts": func(batch []consume.Message, _ *held) []consume.Message {
			slices.SortFunc(batch, func(a, b consume.Message) int { return -bytes.Compare(a.Key, b.Key) })

			return batch
		},
		"filters": func(batch []consume.Message, _ *held) []consume.Message {
			left := slices.Clone(batch)
			_ = slices.DeleteFunc(batch, func(m consume.Message) bool { return m.Offset%2 == 0 })

			return left
		},
		"overwrites": func(batch []consume.Message, _ *held) []consume.Message {
			left := slices.Clone(batch)
			for i := range left {
				left[i].Value = bytes.Clone(left[i].Value)
			}
			spoil(batch)

			return left
		},
		"keeps": func(batch []consume.Message, kept *held) []consume.Message {
			if before := kept.Swap(&batch); before != nil {
				spoil(*before)
			}

			return batch
		},
	} {
		for _, fault := range []string{"poison", "deadlock"} {
			t.Run(name+" "+fault, func(t *testing.T) {
				t.Parallel()
				s := setup(t, b, 1)
				records := events(0, 100, 1)
				if fault == "poison" {
					records[42].Value = []byte("poison")
				}
				s.broker.Write(t, s.topic, records...)
				var handler refuser
				var deadlocked atomic.Bool
				var kept held
				m := s.start(t, func(c *settings) {
					c.Handle, c.Failure.Retry.MaxAttempts = nil, 2
					c.HandleBatch = func(ctx context.Context, tx pgx.Tx, batch []consume.Message) error {
						err := eachOf(handler.handle)(ctx, tx, mangle(batch, &kept))
						if err == nil && fault == "deadlock" && deadlocked.CompareAndSwap(false, true) {
							return errDeadlock
						}

						return err
					}
				})
				s.awaitCommitted(t, 100)
				m.leave(t)
				if fault == "deadlock" {
					s.verifyOnce(t, 100)

					return
				}
				s.verifyOnce(t, 99)
				if got := s.letterRecords(t); len(got) != 1 || got[0].Offset != 42 || string(got[0].Key) != "k42" || string(got[0].Value) != "poison" {
					t.Errorf("%d dead letters, want one, the record at offset 42", len(got))
				}
			})
		}
	}
}

// A handler changes the record in place and fails: the next attempt, the dead letter, its copy in the
// topic and its replay have the record as it was fetched.
func TestHandlerOwnsItsRecord(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	for name, use := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, b, 1)
			s.create(t, s.topic+"-dlt", 1)
			s.broker.Write(t, s.topic, events(0, 10, 1)...)
			var healed atomic.Bool
			m := s.start(t, func(c *settings) {
				c.Failure.Retry.MaxAttempts, c.Failure.DeadLetterSuffix, c.Failure.ReplayInterval = 3, "-dlt", 50*time.Millisecond
				use(c, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
					id := strconv.FormatInt(m.Offset, 10)
					if string(m.Key) != "k"+id || string(m.Value) != `{"id":"`+id+`"}` || len(m.Headers) != 1 || string(m.Headers[0].Value) != id {
						t.Errorf("attempt %d of record %s: %q %q %q", m.Attempt, id, m.Key, m.Value, m.Headers)
					}
					spoilOne(&m)
					if m.Offset == 4 && !healed.Load() {
						return errPoison
					}

					return record(ctx, tx, m)
				})
			})
			s.awaitCommitted(t, 10)
			want := events(4, 1, 1)[0]
			var copied []kafka.Message
			for _, r := range s.broker.Log(t, s.topic+"-dlt", 0) {
				copied = append(copied, kafka.Message{Key: r.Key, Value: r.Value, Headers: []kafka.Header{{Key: r.Headers[0].Key, Value: r.Headers[0].Value}}})
			}
			for place, letters := range map[string][]kafka.Message{"table": s.letterRecords(t), "topic": copied} {
				if len(letters) != 1 {
					t.Fatalf("%d letters in the %s", len(letters), place)
				}
				got := letters[0]
				if !bytes.Equal(got.Key, want.Key) || !bytes.Equal(got.Value, want.Value) || got.Headers[0].Key != want.Headers[0].Key ||
					!bytes.Equal(got.Headers[0].Value, want.Headers[0].Value) {
					t.Errorf("the letter in the %s is %q %q %q", place, got.Key, got.Value, got.Headers)
				}
			}
			s.askForReplay(t) // It fails once more before it succeeds.
			until(t, "the replay to fail", func() bool { return slices.Equal(s.letters(t), []string{"4 open 6"}) })
			healed.Store(true)
			s.askForReplay(t)
			s.awaitEffects(t, 10)
			m.leave(t)
			s.verifyOnce(t, 10)
		})
	}
}
