package fetch

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go/compress"

	"github.com/nova-events/idempotent-consumer/consume"
)

// Buffers are used again. No message that was returned may change by that.
func TestMessagesStayAsTheyAre(t *testing.T) {
	t.Parallel()
	const goroutines, responses = 4, 10
	for _, codec := range codecs {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			sent := make([][]byte, responses)
			for i := range sent {
				sent[i] = sampleResponse(t, codec, 2, 300, uint64(i))
			}
			want := make([]*Response, responses)
			for i, body := range sent {
				r, err := decode(Request{}, 11, bytes.Clone(body))
				if err != nil {
					t.Fatal(err)
				}
				for j := range r.Messages {
					r.Messages[j].Value = bytes.Clone(r.Messages[j].Value)
				}
				want[i] = r
			}
			var all sync.WaitGroup
			for range goroutines {
				all.Go(func() {
					got := make([]*Response, responses)
					for i, body := range sent {
						r, err := readResponse(bytes.NewReader(body), int64(len(body)), 11, testCall(nil))
						if err != nil {
							t.Error(err)

							return
						}
						got[i] = r
					}
					for i := range got {
						same := func(a, b consume.Record) bool { return a.Offset == b.Offset && bytes.Equal(a.Value, b.Value) }
						if !slices.EqualFunc(got[i].Messages, want[i].Messages, same) {
							t.Errorf("response %d has changed", i)
						}
					}
				})
			}
			all.Wait()
		})
	}
}

// Encoders cut what they compress in many ways.
func TestZstdFrames(t *testing.T) {
	t.Parallel()
	random := sampleResponse(t, "none", 1, 2000, 1) // 400 KB
	zeros := make([]byte, 1<<20)
	const skipped = "\x5a\x2a\x4d\x18\x03\x00\x00\x00abc"
	encoder := func(options ...zstd.EOption) *zstd.Encoder {
		e, err := zstd.NewWriter(nil, options...)
		if err != nil {
			t.Fatal(err)
		}

		return e
	}
	streamed := func(parts ...[]byte) []byte {
		var to bytes.Buffer
		e := encoder(zstd.WithEncoderCRC(false))
		e.Reset(&to)
		for _, part := range parts {
			if _, err := e.Write(part); err != nil {
				t.Fatal(err)
			}
			if err := e.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}

		return to.Bytes()
	}
	all := encoder().EncodeAll(random, nil)
	for name, test := range map[string]struct{ compressed, want []byte }{
		"size and checksum":  {all, random},
		"neither":            {streamed(random, random[:7], zeros), slices.Concat(random, random[:7], zeros)},
		"repeats":            {encoder().EncodeAll(zeros, nil), zeros},
		"single segment":     {encoder(zstd.WithSingleSegment(true)).EncodeAll(random, nil), random},
		"two frames":         {slices.Concat(all, streamed(zeros)), slices.Concat(random, zeros)},
		"a frame to skip":    {slices.Concat([]byte(skipped), all, []byte(skipped)), random},
		"empty frame":        {slices.Concat([]byte(emptyZstd), all), random},
		"not compressible":   {encoder().EncodeAll(all, nil), all},
		"a small window":     {encoder(zstd.WithWindowSize(1<<10)).EncodeAll(random, nil), random},
		"nothing":            {nil, nil},
		"the best of levels": {encoder(zstd.WithEncoderLevel(zstd.SpeedBestCompression)).EncodeAll(random, nil), random},
	} {
		got, err := decompress(compress.Zstd, test.compressed, nil)
		if err != nil || !bytes.Equal(got, test.want) {
			t.Errorf("%s: %d bytes, want %d, %v", name, len(got), len(test.want), err)
		}
		if len(got) > 0 && cap(got) > len(got)+len(got)/4 {
			t.Errorf("%s: %d bytes take up %d", name, len(got), cap(got))
		}
		for cut := range min(len(test.compressed), 60) {
			_, _ = decompress(compress.Zstd, test.compressed[:cut], nil) // It must not panic.
		}
	}
}

// A batch of more than is pooled comes whole, too.
func TestLargeBatches(t *testing.T) {
	t.Parallel()
	for _, compression := range []compress.Compression{compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd} {
		value := strings.Repeat("0123456789", maxPooled/10)
		r, err := decodeBatches(t, 0, nil, testBatch{attributes: int16(compression), values: []string{value, value, "end"}})
		if err != nil || len(r.Messages) != 3 || string(r.Messages[1].Value) != value || string(r.Messages[2].Value) != "end" {
			t.Errorf("%s: %v", compression, err)
		}
	}
}

// A body that was used before is not handed to a much smaller response: messages would hold on
// to all of it.
func TestSmallResponseGetsNoLargeBody(t *testing.T) {
	t.Parallel()
	for range 100 {
		(&body{buffer: make([]byte, 1<<20)}).release()
		if b := newBody(1 << 10); cap(b.buffer) > 2<<10 {
			t.Fatalf("1 KiB takes up %d bytes", cap(b.buffer))
		}
	}
}

func TestHeadersOfManyRecords(t *testing.T) {
	t.Parallel()
	var batches []testBatch
	for i, headers := range [][]consume.RecordHeader{
		{{Key: "id", Value: []byte("1")}, {Key: "trace", Value: []byte("x")}}, nil,
		{{Key: "trace", Value: nil}, {Key: "id", Value: []byte("2")}, {Key: "", Value: []byte{}}},
		{{Key: "id", Value: []byte("3")}},
	} {
		batches = append(batches, testBatch{base: int64(2 * i), values: []string{"a", "b"}, headers: headers})
	}
	r, err := decodeBatches(t, 0, nil, batches...)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range r.Messages {
		_ = append(m.Headers, consume.RecordHeader{Key: "mine"}) // It must not reach the next record.
	}
	for i, m := range r.Messages {
		if want := batches[i/2].headers; !slices.EqualFunc(m.Headers, want, func(a, b consume.RecordHeader) bool {
			return a.Key == b.Key && bytes.Equal(a.Value, b.Value) && (a.Value == nil) == (b.Value == nil)
		}) {
			t.Errorf("record %d has the headers %v, want %v", i, m.Headers, want)
		}
	}
}

// A response that grows large when it is decompressed is delivered in parts.
func TestResponseThatGrowsLarge(t *testing.T) {
	t.Parallel()
	const batches = 100
	value := strings.Repeat("0", 1<<20)
	all := make([]testBatch, batches)
	for i := range all {
		all[i] = testBatch{base: int64(i), attributes: int16(compress.Zstd), values: []string{value}}
	}
	records := encodeAll(t, all...)
	var got, parts int
	for offset := int64(0); offset < batches; parts++ {
		response := &Response{Next: offset, HighWatermark: testEnd}
		d := decoder{request: Request{Offset: offset}, response: response}
		if err := d.batches(records); err != nil {
			t.Fatal(err)
		}
		if n := len(response.Messages); n > maxResponseSize>>20 {
			t.Fatalf("%d MiB at once", n)
		}
		got += len(response.Messages)
		for range response.Messages {
			size := int64(binary.BigEndian.Uint32(records[8:])) + lengthPrefix
			records = records[size:]
		}
		offset = response.Next
	}
	if got != batches || parts != 4 {
		t.Errorf("%d records in %d parts", got, parts)
	}
}
