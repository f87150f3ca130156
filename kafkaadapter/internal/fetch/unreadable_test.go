package fetch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/segmentio/kafka-go/compress"
)

// rawRecord is a record of which the lengths are given as they are written.
func rawRecord(delta, key, value, headerKey, headerValue int64) []byte {
	record := []byte{0}
	record = binary.AppendVarint(record, 0)
	record = binary.AppendVarint(record, delta)
	record = binary.AppendVarint(record, key)
	record = binary.AppendVarint(record, value)
	record = binary.AppendVarint(record, 1) // header
	record = binary.AppendVarint(record, headerKey)
	record = binary.AppendVarint(record, headerValue)

	return appendVarbytes(nil, record)
}

func withRecords(t *testing.T, b testBatch, compression compress.Compression, records []byte) []byte {
	t.Helper()

	return b.compressed(t, compression, func([]byte) []byte { return records })
}

func TestNegativeLengthsAreNull(t *testing.T) {
	t.Parallel()
	raw := withRecords(t, testBatch{values: []string{""}}, compress.None, rawRecord(0, -2, -3, -4, -1<<40))
	r, err := decode(Request{}, 11, testResponse(nil, 0, raw))
	if err != nil || len(r.Messages) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	m := r.Messages[0]
	if m.Key != nil || m.Value != nil || len(m.Headers) != 1 || m.Headers[0].Key != "" || m.Headers[0].Value != nil {
		t.Errorf("%+v", m)
	}
}

func TestConcatenatedSnappyStreams(t *testing.T) {
	t.Parallel()
	plain := testBatch{values: []string{"a", strings.Repeat("b", 1000), "c"}}.encode(t)[lengthPrefix+headerBytes:]
	stream := func(blocks ...[]byte) (all []byte) {
		all = append([]byte(xerial), 0, 0, 0, 1, 0, 0, 0, 1)
		for _, block := range blocks {
			block = snappy.Encode(nil, block)
			all = append(binary.BigEndian.AppendUint32(all, uint32(len(block))), block...)
		}

		return all
	}
	for name, records := range map[string][]byte{
		"two":            slices.Concat(stream(plain[:7]), stream(plain[7:])),
		"an empty first": slices.Concat(stream(), stream(plain)),
		"three":          slices.Concat(stream(plain[:3], plain[3:9]), stream(plain[9:]), stream()),
	} {
		raw := withRecords(t, testBatch{values: []string{"", "", ""}}, compress.Snappy, records)
		r, err := decode(Request{}, 11, testResponse(nil, 0, raw))
		if err != nil || len(r.Messages) != 3 || len(r.Messages[1].Value) != 1000 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// Brokers do not look at what records say of their offsets. None may be lost by it, and none
// may move the reader.
func TestRecordsOfAWholeBatchAreWhereTheyStand(t *testing.T) {
	t.Parallel()
	for name, offsets := range map[string][]int64{
		"beyond the batch": {105}, "before the batch": {99}, "twice": {100, 100}, "out of order": {105, 99, 100, 100},
	} {
		b := testBatch{base: 100, offsets: offsets, values: strings.Split("abcd", "")[:len(offsets)]}
		raw := b.encode(t)
		binary.BigEndian.PutUint32(raw[23:], uint32(len(offsets)-1)) // the last offset's delta, as a producer writes it
		r, err := decode(Request{Offset: 100}, 11, testResponse(nil, 0, seal(raw, 0)))
		want := []string{"100:a", "101:b", "102:c", "103:d"}[:len(offsets)]
		if err != nil || values(r) != strings.Join(want, " ") || r.Next != 100+int64(len(offsets)) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestGoodRecordsComeBeforeTheUnreadableBatch(t *testing.T) {
	t.Parallel()
	damaged := testBatch{base: 2, values: []string{"c", "d"}}.encode(t)
	damaged[len(damaged)-1] ^= 1
	for name, bad := range map[string][]byte{
		"checksum":         damaged,
		"codec":            testBatch{base: 2, attributes: 7, values: []string{"c", "d"}}.encode(t),
		"records":          withRecords(t, testBatch{base: 2, values: []string{"c", "d"}}, compress.None, []byte("\x08junk")),
		"compressed":       withRecords(t, testBatch{base: 2, values: []string{"c", "d"}}, compress.Zstd, []byte("junk")),
		"header count < 0": withRecords(t, testBatch{base: 2, values: []string{"c", "d"}}, compress.None, []byte("\x0c\x00\x00\x00\x01\x01\x01\x0c\x00\x00\x02\x01\x01\x01")),
	} {
		good := encodeAll(t, testBatch{base: 0, values: []string{"a"}}, testBatch{base: 1, values: []string{"b"}})
		behind := slices.Concat(bad, testBatch{base: 4, values: []string{"e"}}.encode(t))
		r, err := decode(Request{}, 11, testResponse(nil, 0, slices.Concat(good, behind)))
		if err != nil || values(r) != "0:a 1:b" || r.Next != 2 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		_, err = decode(Request{Offset: 2}, 11, testResponse(nil, 0, behind))
		var unreadable *UnreadableError
		ok := errors.As(err, &unreadable)
		if !ok || unreadable.First != 2 || unreadable.Last != 3 || !bytes.Equal(unreadable.Raw, bad) || unreadable.Size != len(bad) {
			t.Errorf("%s: %v, %+v", name, err, unreadable)
		}
	}
}

func TestOldMessagesAreUnreadable(t *testing.T) {
	t.Parallel()
	old := binary.BigEndian.AppendUint64(nil, 9) // the offset of the last message in it
	old = append(binary.BigEndian.AppendUint32(old, 22), 0, 0, 0, 0, 1)
	old = append(old, make([]byte, 17)...)
	_, err := decode(Request{Offset: 7}, 11, testResponse(nil, 0, old))
	var unreadable *UnreadableError
	ok := errors.As(err, &unreadable)
	if !ok || unreadable.First != 7 || unreadable.Last != 9 || !errors.Is(err, ErrUnsupported) {
		t.Errorf("%v, %+v", err, unreadable)
	}
}

// Nobody may go on behind a batch of which nobody knows where it is.
func TestOffsetsOutsideTheLogMoveNothing(t *testing.T) {
	t.Parallel()
	sealed := func(b testBatch, base int64) []byte {
		raw := b.encode(t)
		binary.BigEndian.PutUint64(raw, uint64(base))

		return raw
	}
	good := testBatch{base: 100, values: []string{"a", "b"}}
	before := testBatch{base: 98, values: []string{"y", "z"}}.encode(t)
	cut := good.encode(t)
	cut[len(cut)-1] ^= 1
	binary.BigEndian.PutUint32(cut[23:], 500) // A flipped bit in the delta, too: then it does not agree with the count.
	for name, bad := range map[string][]byte{
		"bit 40":                    sealed(good, 100|1<<40),
		"bit 63":                    sealed(good, -1<<63|100),
		"before":                    sealed(good, 36),
		"up to the end":             sealed(good, testEnd-1),
		"damaged with another last": cut,
	} {
		for offset, records := range map[int64][]byte{100: bad, 98: slices.Concat(before, bad)} {
			r, err := decode(Request{Offset: offset}, 11, testResponse(nil, 0, records))
			skippable := errors.As(err, new(*UnreadableError))
			switch {
			case offset == 100 && (!errors.Is(err, ErrMalformed) || skippable):
				t.Errorf("%s: %+v, %v", name, r, err)
			case offset == 98 && (err != nil || r.Next != 100 || values(r) != "98:y 99:z"):
				t.Errorf("%s behind a good one: %+v, %v", name, r, err)
			}
		}
	}
	r, err := decode(Request{Offset: 98}, 11, testResponse(nil, 0, slices.Concat(before, sealed(good, 99))))
	if err != nil || r.Next != 100 {
		t.Errorf("overlapping: %+v, %v", r, err)
	}
}

func TestPanicOfADecoderIsAnError(t *testing.T) {
	t.Parallel()
	b, err := parseBatch(testBatch{values: []string{"a"}}.encode(t))
	if err != nil {
		t.Fatal(err)
	}
	without := decoder{} // a response, so that it panics
	if err := without.decode(b); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "panics") {
		t.Error(err)
	}
}

func TestRawBatchIsBounded(t *testing.T) {
	t.Parallel()
	for _, size := range []int{maxRawBytes, maxRawBytes + 1} {
		e := newUnreadable(1, 2, make([]byte, size), ErrTooLarge)
		if (e.Raw != nil) != (size <= maxRawBytes) || e.Size != size {
			t.Errorf("%d bytes: %d are kept", size, len(e.Raw))
		}
	}
}
