package fetch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"

	"github.com/nova-events/idempotent-consumer/consume"
)

func decodeBatches(t testing.TB, offset int64, aborted []abortedTransaction, batches ...testBatch) (*Response, error) {
	t.Helper()

	return decode(Request{Topic: "t", Partition: 3, Offset: offset}, 11, testResponse(aborted, 0, encodeAll(t, batches...)))
}

// values are those of the messages, with their offsets.
func values(r *Response) string {
	all := make([]string, len(r.Messages))
	for i, m := range r.Messages {
		all[i] = fmt.Sprintf("%d:%s", m.Offset, m.Value)
	}

	return strings.Join(all, " ")
}

func TestRecordsOfAllCodecs(t *testing.T) {
	t.Parallel()
	for _, compression := range []compress.Compression{compress.None, compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd} {
		t.Run(compression.String(), func(t *testing.T) {
			t.Parallel()
			r, err := decodeBatches(t, 10, nil, testBatch{
				base: 10, attributes: int16(compression), time: 1_700_000_000_000, maxTime: 1_800_000_000_000, key: []byte("key"),
				values: []string{"a", "", strings.Repeat("long", 10_000)}, headers: []consume.RecordHeader{{Key: "h", Value: []byte("v")}, {Key: "nil"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Messages) != 3 || r.Next != 13 || r.HighWatermark != testEnd || r.LastStable != 900 || r.LogStart != 5 {
				t.Fatalf("%+v", r)
			}
			m := r.Messages[1]
			if m.Topic != "t" || m.Partition != 3 || m.Offset != 11 || m.HighWatermark != testEnd || string(m.Key) != "key" || m.Value == nil || len(m.Value) != 0 {
				t.Errorf("%+v", m)
			}
			if !m.Time.Equal(time.UnixMilli(1_700_000_000_001)) {
				t.Errorf("time %v", m.Time)
			}
			if len(m.Headers) != 2 || m.Headers[0].Key != "h" || string(m.Headers[0].Value) != "v" || m.Headers[1].Value != nil {
				t.Errorf("headers %v", m.Headers)
			}
			if len(r.Messages[2].Value) != 40_000 {
				t.Errorf("long value of %d bytes", len(r.Messages[2].Value))
			}
		})
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	r, err := decodeBatches(t, 0, nil,
		testBatch{base: 0, attributes: logAppendTimeBit, time: 1, maxTime: 1_800_000_000_000, values: []string{"append time"}},
		testBatch{base: 1, time: -1, maxTime: -1, values: []string{"none"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Messages[0].Time.Equal(time.UnixMilli(1_800_000_000_000)) || !r.Messages[1].Time.IsZero() {
		t.Errorf("%v, %v", r.Messages[0].Time, r.Messages[1].Time)
	}
}

func TestHolesAreCrossed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		offset  int64
		batches []testBatch
		want    string
		next    int64
	}{
		"inside a batch":         {0, []testBatch{{base: 0, offsets: []int64{1, 5}, values: []string{"b", "f"}, last: 9}}, "1:b 5:f", 10},
		"nothing is left":        {4, []testBatch{{base: 0, last: 9}}, "", 10},
		"between batches":        {0, []testBatch{{base: 0, values: []string{"a"}}, {base: 90, values: []string{"z"}}}, "0:a 90:z", 91},
		"starts in the middle":   {2, []testBatch{{base: 0, values: []string{"a", "b", "c", "d"}}}, "2:c 3:d", 4},
		"starts in a final hole": {3, []testBatch{{base: 0, values: []string{"a"}, last: 9}, {base: 10, values: []string{"k"}}}, "10:k", 11},
		"compressed":             {0, []testBatch{{base: 0, attributes: int16(compress.Lz4), offsets: []int64{7}, values: []string{"h"}, last: 499}}, "7:h", 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := decodeBatches(t, test.offset, nil, test.batches...)
			if err != nil {
				t.Fatal(err)
			}
			if values(r) != test.want || r.Next != test.next {
				t.Errorf("got %q, next %d", values(r), r.Next)
			}
		})
	}
}

func TestAbortedTransactionsAreDropped(t *testing.T) {
	t.Parallel()
	inTransaction := func(base, producer int64, value string) testBatch {
		return testBatch{base: base, attributes: transactionalBit, producer: producer, values: []string{value}}
	}
	// The list of aborted transactions is not in order on purpose.
	r, err := decodeBatches(t, 0, []abortedTransaction{{producer: 8, first: 7}, {producer: 7, first: 1}},
		testBatch{base: 0, producer: -1, values: []string{"plain"}},
		inTransaction(1, 7, "aborted"),
		inTransaction(2, 8, "committed"),
		inTransaction(3, 7, "aborted too"),
		marker(4, 8, true),
		marker(5, 7, false),
		inTransaction(6, 7, "next transaction of the same producer"),
		inTransaction(7, 8, "aborted"),
		testBatch{base: 8, producer: 8, values: []string{"outside of a transaction"}},
		marker(9, 7, true),
		marker(10, 8, false),
	)
	if err != nil {
		t.Fatal(err)
	}
	if got := values(r); got != "0:plain 2:committed 6:next transaction of the same producer 8:outside of a transaction" || r.Next != 11 {
		t.Errorf("got %q, next %d", got, r.Next)
	}
}

func TestLeaderEpochIsThatOfTheLastBatch(t *testing.T) {
	t.Parallel()
	first := testBatch{base: 0, values: []string{"a"}, epoch: 4}
	cut := testBatch{base: 2, values: []string{"c"}, epoch: 6}.encode(t)
	records := append(encodeAll(t, first, testBatch{base: 1, values: []string{"b"}, epoch: 5}), cut[:len(cut)-1]...)
	r, err := decode(Request{}, 11, testResponse(nil, 0, records))
	if err != nil || r.LeaderEpoch != 5 {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = decode(Request{}, 11, testResponse(nil, 0, nil))
	if err != nil || r.LeaderEpoch != -1 {
		t.Errorf("nothing was fetched: %+v, %v", r, err)
	}
}

func TestOnlyMarkersMoveOn(t *testing.T) {
	t.Parallel()
	r, err := decodeBatches(t, 4, nil, marker(4, 8, true))
	if err != nil || len(r.Messages) != 0 || r.Next != 5 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestCutOffBatchIsLeftForTheNextFetch(t *testing.T) {
	t.Parallel()
	whole := testBatch{base: 0, values: []string{"a"}}.encode(t)
	next := testBatch{base: 1, values: []string{"b"}}.encode(t)
	for cut := range next {
		r, err := decode(Request{}, 11, testResponse(nil, 0, append(bytes.Clone(whole), next[:cut]...)))
		if err != nil || values(r) != "0:a" || r.Next != 1 {
			t.Fatalf("cut after %d bytes: %+v, %v", cut, r, err)
		}
	}
}

func TestNothingNew(t *testing.T) {
	t.Parallel()
	r, err := decode(Request{Offset: 7}, 11, testResponse(nil, 0, nil))
	if err != nil || r.Next != 7 || len(r.Messages) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestBrokersErrorIsReturned(t *testing.T) {
	t.Parallel()
	_, err := decode(Request{}, 11, testResponse(nil, kafka.OffsetOutOfRange, nil))
	if !errors.Is(err, kafka.OffsetOutOfRange) {
		t.Error(err)
	}
}

func TestDamageIsAnError(t *testing.T) {
	t.Parallel()
	good := testBatch{base: 0, values: []string{"a", "b"}}
	flip := func(at int) []byte {
		raw := good.encode(t)
		raw[at] ^= 1

		return raw
	}
	for name, test := range map[string]struct {
		records []byte
		want    error
	}{
		"checksum":             {flip(70), ErrMalformed},
		"old message format":   {flip(16), ErrUnsupported},
		"no progress":          {testBatch{base: 0, values: []string{"a"}}.encode(t)[:40], ErrMalformed},
		"too many records":     {testBatch{base: 0, values: []string{"a"}, count: 1_000_000}.encode(t), ErrMalformed},
		"one record too many":  {testBatch{base: 0, values: []string{"aaaaaaaaaaaaaaaaaaaaa"}, count: 2}.encode(t), ErrMalformed},
		"offset behind batch":  {testBatch{base: 5, offsets: []int64{4}, values: []string{"a"}}.encode(t), ErrMalformed},
		"same offset twice":    {testBatch{base: 0, offsets: []int64{1, 1}, last: 5, values: []string{"a", "a"}}.encode(t), ErrMalformed},
		"offset before former": {testBatch{base: 0, offsets: []int64{2, 1}, last: 5, values: []string{"a", "a"}}.encode(t), ErrMalformed},
		"a record uncounted":   {testBatch{base: 0, count: 1, values: []string{"a", "a"}}.encode(t), ErrMalformed},
		"unknown compression":  {testBatch{base: 0, attributes: 7, values: []string{"a"}}.encode(t), ErrUnsupported},
		"negative base offset": {testBatch{base: -4, values: []string{"a"}}.encode(t), ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := decode(Request{}, 11, testResponse(nil, 0, test.records))
			if !errors.Is(err, test.want) {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

func TestDecompressionIsBounded(t *testing.T) {
	t.Parallel()
	for _, compression := range []compress.Compression{compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd} {
		raw := testBatch{base: 0, attributes: int16(compression), values: []string{strings.Repeat("0", 1<<20)}}.encode(t)
		d := decoder{response: &Response{HighWatermark: testEnd}, account: newAccount(NewMemory(1<<19), 0, false)}
		if err := d.batches(raw); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %d bytes that become 1 MiB: %v", compression, len(raw), err)
		}
	}
}

// emptyZstd is a frame without content.
const emptyZstd = "\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00"

// Sizes that data claims to have must not be believed: most of these few bytes claim 4 GiB.
func TestClaimedSizesAreNotAllocated(t *testing.T) { //nolint:paralleltest // It measures what is allocated.
	for name, test := range map[string]struct {
		compression compress.Compression
		records     string
	}{
		"snappy":         {compress.Snappy, "\xff\xff\xff\xff\x0f\x00"},
		"snappy, xerial": {compress.Snappy, xerial + "\x00\x00\x00\x01\x00\x00\x00\x01\xff\xff\xff\xff\x00"},
		"snappy, block":  {compress.Snappy, xerial + "\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x06\xff\xff\xff\xff\x0f\x00"},
		"zstd":           {compress.Zstd, "\x28\xb5\x2f\xfd\xa0\xff\xff\xff\xff\x01\x00\x00"},

		// These claim less than is allowed.
		"snappy, 200 MiB": {compress.Snappy, "\x80\x80\x80\x64\x00"},
		"zstd, 200 MiB":   {compress.Zstd, "\x28\xb5\x2f\xfd\xa0\x00\x00\x80\x0c\x01\x00\x00"},
		"zstd, 2nd frame": {compress.Zstd, emptyZstd + "\x28\xb5\x2f\xfd\xa0\x00\x00\x80\x0c\x01\x00\x00"},
		"zstd, skipped":   {compress.Zstd, "\x50\x2a\x4d\x18\xff\xff\xff\xff"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if plain, err := decompress(test.compression, []byte(test.records), nil); err == nil {
			t.Errorf("%s: %d bytes", name, len(plain))
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
			t.Errorf("%s: %d bytes were allocated", name, n)
		}
	}
}

func TestBodyIsReadInPieces(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, firstChunk, firstChunk + 1, 5 * firstChunk} {
		sent := bytes.Repeat([]byte("x"), size)
		got := newBody(size)
		err := got.read(iotest.HalfReader(bytes.NewReader(sent)), size)
		if err != nil || !bytes.Equal(got.buffer, sent) {
			t.Errorf("%d bytes: %d arrived, %v", size, len(got.buffer), err)
		}
	}
	if err := newBody(maxBatchBytes).read(strings.NewReader("short"), maxBatchBytes); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

// Whatever the bytes are: no panic, and what is delivered stands in order between the offset
// asked for and the one that comes next.
func FuzzDecode(f *testing.F) {
	for _, b := range []testBatch{
		{base: 0, values: []string{"a", "b"}, headers: []consume.RecordHeader{{Key: "h", Value: []byte("v")}}},
		{base: 3, attributes: int16(compress.Snappy), values: []string{"a"}, last: 9},
		marker(0, 1, false),
	} {
		f.Add(int64(0), int16(11), testResponse([]abortedTransaction{{1, 0}}, 0, b.encode(f)))
	}
	f.Fuzz(func(t *testing.T, offset int64, version int16, body []byte) {
		r, err := decode(Request{Offset: offset}, version, body)
		if err != nil {
			return
		}
		at := offset
		for _, m := range r.Messages {
			if m.Offset < at || m.Offset >= r.Next {
				t.Fatalf("offset %d, after %d and with %d to come next", m.Offset, at, r.Next)
			}
			at = m.Offset + 1
		}
	})
}

// FuzzBatch gets behind the checksum, which FuzzDecode hardly ever does.
func FuzzBatch(f *testing.F) {
	f.Add(int16(0), int32(1), []byte("\x1a\x00\x00\x00\x01\x08body\x02\x02h\x02v"))
	f.Add(int16(compress.Gzip), int32(3), []byte{0x1f, 0x8b})
	f.Add(int16(compress.Lz4), int32(3), []byte{4, 34, 77, 24})
	f.Add(int16(compress.Snappy), int32(3), []byte{130, 'S', 'N', 'A', 'P', 'P', 'Y', 0})
	f.Add(int16(compress.Zstd), int32(3), []byte{0x28, 0xb5, 0x2f, 0xfd})
	f.Fuzz(func(_ *testing.T, attributes int16, count int32, records []byte) {
		d := decoder{response: &Response{HighWatermark: testEnd}, account: newAccount(NewMemory(1<<16), 0, false)}
		_ = d.add(batch{last: int64(max(0, count)), attributes: attributes, count: max(0, count), records: records})
	})
}
