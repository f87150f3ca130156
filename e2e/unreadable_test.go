package e2e_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// What a producer can write and a broker accepts stops no group without a policy.

// oddRecord is a record with lengths as they are given, and no headers.
func oddRecord(delta, key int64, value string) []byte {
	record := []byte{0, 0}
	record = binary.AppendVarint(record, delta)
	record = binary.AppendVarint(record, key)
	record = binary.AppendVarint(record, int64(len(value)))
	record = append(append(record, value...), 0)

	return append(binary.AppendVarint(nil, int64(len(record))), record...)
}

// xerialStream is a stream of snappy-java with one block, which is not compressed.
func xerialStream(plain []byte) []byte {
	block := binary.AppendUvarint(nil, uint64(len(plain)))
	block = append(append(block, byte(len(plain)-1)<<2), plain...) // one literal of up to 60 bytes
	stream := append([]byte("\x82SNAPPY\x00"), 0, 0, 0, 1, 0, 0, 0, 1)

	return append(binary.BigEndian.AppendUint32(stream, uint32(len(block))), block...)
}

// snappyStreams is a batch of two streams, or of one for franz-go, which reads no more.
func snappyStreams() broker.RawBatch {
	f, g := oddRecord(0, -1, "f"), oddRecord(1, -1, "g")
	if onFranz() {
		return broker.RawBatch{Codec: 2, Count: 2, Records: xerialStream(slices.Concat(f, g))}
	}

	return broker.RawBatch{Codec: 2, Count: 2, Records: slices.Concat(xerialStream(f), xerialStream(g))}
}

func TestOddBatchesAreConsumed(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 1)
		for _, odd := range []broker.RawBatch{
			{Count: 1, Records: oddRecord(0, -2, "a")},
			{Count: 1, Records: oddRecord(5, -1, "b")},
			{Count: 1, Records: oddRecord(-1, -1, "c")},
			{Count: 2, Records: slices.Concat(oddRecord(0, -1, "d"), oddRecord(0, -1, "e"))},
			snappyStreams(),
		} {
			b.ProduceRaw(t, s.topic, 0, odd)
		}
		b.Write(t, s.topic, kafka.Message{Value: []byte("h")})
		var got strings.Builder
		m := s.start(t, func(c *settings) {
			c.Mode = consume.ByCheckpoint
			c.Handle = func(_ context.Context, _ pgx.Tx, m consume.Message) error {
				got.Write(m.Value)
				if m.Key != nil {
					t.Errorf("%q has a key of %d bytes", m.Value, len(m.Key))
				}

				return nil
			}
		})
		s.awaitCommitted(t, 8)
		m.leave(t)
		if got.String() != "abcdefgh" {
			t.Errorf("got %q", got.String())
		}
	})
}

// tooLarge is a batch of a few kilobytes with one record of 300 MiB of zeros, compressed by
// Zstandard.
func tooLarge() broker.RawBatch {
	const size, block = 300 << 20, 128 << 10
	inner := binary.AppendVarint([]byte{0, 0, 0, 1}, size) // attributes, time, offset, no key
	head := binary.AppendVarint(nil, int64(len(inner)+size+1))
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 11 << 3} // a window of 2 MiB
	add := func(last, kind, size int, content []byte) {
		header := last | kind<<1 | size<<3
		frame = append(append(frame, byte(header), byte(header>>8), byte(header>>16)), content...)
	}
	add(0, 0, len(head)+len(inner), append(head, inner...))
	for range size / block {
		add(0, 1, block, []byte{0})
	}
	add(1, 0, 1, []byte{0}) // no headers

	return broker.RawBatch{Codec: 4, Count: 1, Records: frame}
}

// withUnreadable writes three records to the first partition, one that cannot be read, and two
// more; and twenty to the second.
func withUnreadable(t *testing.T, b *broker.Broker) *bench {
	t.Helper()
	s := setup(t, b, 2)
	b.Write(t, s.topic, events(0, 3, 1)...)
	b.ProduceRaw(t, s.topic, 0, tooLarge())
	b.Write(t, s.topic, events(3, 2, 1)...)
	others := events(100, 20, 1)
	for i := range others {
		others[i].Partition = 1
	}
	b.Write(t, s.topic, others...)

	return s
}

func TestUnreadableBatchStopsRunBehindTheGoodOnes(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := withUnreadable(t, b)
		err := s.start(t, nil).wait(t)
		if !errors.Is(err, consume.ErrUnreadable) || !strings.Contains(err.Error(), "offsets 3 to 3") || !strings.Contains(err.Error(), "go on at offset 4") {
			t.Errorf("Run returned %v", err)
		}
		s.verify(t, 23)
		if got := s.committed(t); got != 23 {
			t.Errorf("%d records are committed", got)
		}
	})
}

func TestUnreadableBatchIsStoredOrSkipped(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*settings){
		"single": func(c *settings) { c.OwnTransactions = true },
		"shared": func(*settings) {},
		"queue":  func(c *settings) { c.Handle, c.HandleQueue = nil, enqueue },
		"keys":   func(c *settings) { c.Mode = consume.ByEventID },
		"batch":  func(c *settings) { c.Handle, c.HandleBatch = nil, eachOf(record) },
		"lanes":  func(c *settings) { c.Lanes.Count = 3 },
	} {
		for _, policy := range []consume.UnreadablePolicy{consume.StoreUnreadable, consume.SkipUnreadable} {
			t.Run(name+map[consume.UnreadablePolicy]string{consume.StoreUnreadable: " stored", consume.SkipUnreadable: " skipped"}[policy], func(t *testing.T) {
				t.Parallel()
				s := withUnreadable(t, broker.InProcess(t))
				var mu sync.Mutex
				var told []consume.Event
				m := s.start(t, func(c *settings) {
					c.OnUnreadable = policy
					c.Hooks.Event = func(_ context.Context, e consume.Event) {
						if e.Kind == consume.EventSkipped || e.Kind == consume.EventDeadLetter {
							mu.Lock()
							defer mu.Unlock()
							told = append(told, e)
						}
					}
					change(c)
				})
				s.awaitCommitted(t, 26)
				m.leave(t)
				s.verifyOnce(t, 25)
				want := consume.Event{Kind: consume.EventSkipped, Place: consume.Place{Offset: 4}}
				if policy == consume.StoreUnreadable {
					want = consume.Event{Kind: consume.EventDeadLetter, Place: consume.Place{Offset: 3}}
				}
				if len(told) != 1 || told[0].Kind != want.Kind || told[0].Offset != want.Offset || told[0].Err == nil {
					t.Errorf("told %+v", told)
				}
				s.verifyRawLetters(t, policy == consume.StoreUnreadable)
			})
		}
	}
}

// verifyRawLetters checks that the unreadable batch is stored as it was produced, or that
// nothing is.
func (s *bench) verifyRawLetters(t *testing.T, stored bool) {
	t.Helper()
	var want []string
	if stored {
		want = []string{"3 open 0"}
	}
	if got := s.letters(t); !slices.Equal(got, want) {
		t.Fatalf("letters %q, want %q", got, want)
	}
	if !stored {
		return
	}
	var raw []byte
	var reason string
	if err := s.pool.QueryRow(t.Context(), `SELECT record_value, error FROM idem.dead_letters`).Scan(&raw, &reason); err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(raw, tooLarge().Records) || !strings.Contains(reason, "offsets 3 to 3 cannot be read") {
		t.Errorf("stored are %d bytes: %s", len(raw), reason)
	}
}

// The letter of a batch holds no record: no handler is to get it as one.
func TestUnreadableBatchIsNotReplayed(t *testing.T) {
	t.Parallel()
	s := withUnreadable(t, broker.InProcess(t))
	m := s.start(t, func(c *settings) {
		c.OnUnreadable, c.EventID = consume.StoreUnreadable, consume.ContentHash()
	})
	s.awaitCommitted(t, 26)
	s.askForReplay(t)
	until(t, "the letter to be open again", func() bool { return slices.Equal(s.letters(t), []string{"3 open 0"}) })
	m.leave(t)
	s.verify(t, 25)
}
