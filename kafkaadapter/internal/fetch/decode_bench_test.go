package fetch

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/segmentio/kafka-go/compress"
)

// BenchmarkDecode reads responses of 8 batches of 500 records of 200 bytes, from the connection
// to the messages. B/record is all that is allocated for it, the response's body included.
func BenchmarkDecode(b *testing.B) {
	const batches, records = 8, 500
	for _, name := range codecs {
		b.Run(name, func(b *testing.B) {
			response := sampleResponse(b, name, batches, records, 1)
			b.ReportAllocs()
			b.SetBytes(int64(len(response)))
			connection, memory := bytes.NewReader(nil), NewMemory(256<<20)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for b.Loop() {
				connection.Reset(response)
				r, err := readResponse(connection, int64(len(response)), 11, testCall(newAccount(memory, 0, false)))
				if err != nil || len(r.Messages) != batches*records {
					b.Fatal(r, err)
				}
				r.Release()
			}
			runtime.ReadMemStats(&after)
			all := float64(b.N) * batches * records
			b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/all, "B/record")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/all, "ns/record")
		})
	}
}

// codecs are the ways in which producers compress: snappy with and without Java's framing.
var codecs = []string{"none", "gzip", "snappy-xerial", "snappy-raw", "lz4", "zstd"}

// sampleResponse is the body of a response with values of 200 bytes, about half of them random.
func sampleResponse(t testing.TB, codec string, batches, records int, seed uint64) []byte {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	var all []byte
	for i := range batches {
		batch := testBatch{base: int64(i * records), time: 1_700_000_000_000, values: make([]string, records)}
		for j := range batch.values {
			batch.values[j] = fmt.Sprintf(`{"id":"%016x%016x","account":%010d,"amount":%08d,"currency":"EUR","kind":"payment","note":"%016x%016x%016x","at":"2026-11-25T02:20:00.000Z"}`,
				random.Uint64(), random.Uint64(), random.IntN(1e9), random.IntN(1e7), random.Uint64(), random.Uint64(), random.Uint64())[:200]
		}
		switch codec {
		case "snappy-raw":
			all = append(all, batch.compressed(t, compress.Snappy, func(plain []byte) []byte { return snappy.Encode(nil, plain) })...)
		case "snappy-xerial":
			batch.attributes = int16(compress.Snappy)
			all = append(all, batch.encode(t)...)
		default:
			var compression compress.Compression
			if err := compression.UnmarshalText([]byte(codec)); err != nil {
				t.Fatal(err)
			}
			batch.attributes = int16(compression)
			all = append(all, batch.encode(t)...)
		}
	}

	return testResponse(nil, 0, all)
}

// compressed encodes a batch with a compression of the test's own.
func (b testBatch) compressed(t testing.TB, compression compress.Compression, encode func([]byte) []byte) []byte {
	t.Helper()
	raw := b.encode(t)
	const header = lengthPrefix + headerBytes
	raw = append(raw[:header:header], encode(raw[header:])...)

	return seal(raw, int16(compression))
}
