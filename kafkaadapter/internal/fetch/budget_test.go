package fetch

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/segmentio/kafka-go/compress"
)

// answered reads a response that holds these records.
func answered(t *testing.T, memory *Memory, reserved int64, records ...byte) (*Response, *call, error) {
	t.Helper()
	body := testResponse(nil, 0, records)
	c := testCall(newAccount(memory, reserved, false))
	r, err := readResponse(bytes.NewReader(body), int64(len(body)), 11, c)

	return r, c, err
}

// compressed is what records become.
func compressed(t *testing.T, codec compress.Compression, plain []byte) []byte {
	t.Helper()
	var to bytes.Buffer
	w := codec.Codec().NewWriter(&to)
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	return to.Bytes()
}

// A few kilobytes must not take up what they become.
func TestBatchesBeyondTheBudgetAreUnreadable(t *testing.T) { //nolint:paralleltest // It measures what is allocated.
	const budget, few = 4 << 20, 16 << 20                            // Decompressors have buffers of their own.
	headers := binary.AppendVarint([]byte{0, 0, 0, 1, 1}, 1_000_000) // 40 MB in Go
	headers = append(headers, make([]byte, 2*1_000_000)...)
	names := binary.AppendVarint([]byte{0, 0, 0, 1, 1}, 20_000) // each another than the one before
	for i := range 20_000 {
		names = append(appendVarbytes(names, bytes.Repeat([]byte{byte(i)}, 100)), 1)
	}
	value := binary.AppendVarint([]byte{0, 0, 0, 1}, 30<<20)
	value = append(append(value, make([]byte, 30<<20)...), 0)
	records := func(record []byte) []byte { return append(binary.AppendVarint(nil, int64(len(record))), record...) }
	many := bytes.Repeat([]byte{12, 0, 0, 0, 1, 1, 0}, 300_000)
	for name, test := range map[string]struct {
		count int
		plain []byte
	}{"headers": {1, records(headers)}, "names": {1, records(names)}, "value": {1, records(value)}, "records": {300_000, many}} {
		for _, codec := range []compress.Compression{compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd} {
			packed := compressed(t, codec, test.plain)
			batch := testBatch{values: make([]string, test.count)}
			raw := batch.compressed(t, codec, func([]byte) []byte { return packed })
			memory := NewMemory(budget)
			var before, after runtime.MemStats
			body := testResponse(nil, 0, raw)
			binary.BigEndian.PutUint64(body[27:], 1<<40) // high watermark
			c := testCall(newAccount(memory, 0, false))
			runtime.ReadMemStats(&before)
			_, err := readResponse(bytes.NewReader(body), int64(len(body)), 11, c)
			runtime.ReadMemStats(&after)
			c.account.release()
			var bad *UnreadableError
			ok := errors.As(err, &bad)
			if !ok || !errors.Is(err, ErrTooLarge) || bad.First != 0 || bad.Last != int64(test.count-1) {
				t.Errorf("%s, %s: %v", name, codec, err)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 2*budget+few {
				t.Errorf("%s, %s: %d bytes were allocated", name, codec, n)
			}
			now, peak := memory.Used()
			if now != 0 || peak > budget {
				t.Errorf("%s, %s: %d bytes are taken, %d were at most", name, codec, now, peak)
			}
		}
	}
}

// What a batch needs is there when nobody else has any of it.
func TestBatchMayHaveAllTheMemory(t *testing.T) {
	t.Parallel()
	const budget = 16 << 20
	raw := testBatch{attributes: int16(compress.Zstd), values: []string{strings.Repeat("0", 12<<20)}}.encode(t)
	r, c, err := answered(t, NewMemory(budget), budget, raw...)
	if err != nil || len(r.Messages) != 1 {
		t.Fatal(r, err)
	}
	r.Release()
	if now, _ := c.account.memory.Used(); now > 0 {
		t.Errorf("%d bytes are taken after all is released", now)
	}
}

// A response that is larger than all memory is told by its beginning.
func TestResponseLargerThanTheBudgetIsUnreadable(t *testing.T) {
	t.Parallel()
	raw := testBatch{base: 0, values: []string{strings.Repeat("0", 2<<20), "b"}}.encode(t)
	_, _, err := answered(t, NewMemory(1<<20), 0, raw...)
	var bad *UnreadableError
	ok := errors.As(err, &bad)
	if !ok || bad.First != 0 || bad.Last != 1 || bad.Raw != nil || bad.Size != len(raw) || bad.Damaged {
		t.Errorf("%v, %+v", err, bad)
	}
}

// If others have the memory, what stands first is fetched again; the connection stays usable.
func TestShortOfMemory(t *testing.T) {
	t.Parallel()
	const budget = 1 << 20
	small, large := testBatch{base: 0, values: []string{strings.Repeat("0", 100<<10)}}, testBatch{base: 1, attributes: int16(compress.Zstd), values: []string{strings.Repeat("0", 600<<10)}}
	body := testResponse(nil, 0, encodeAll(t, small, large))
	for taken, want := range map[int64]string{0: "both", budget - 300<<10: "the first", budget - 50<<10: "none", budget: "none"} {
		memory := NewMemory(budget)
		if !memory.take(taken, budget) {
			t.Fatal("the memory is not empty")
		}
		connection := bytes.NewReader(append(bytes.Clone(body), "next"...))
		c := testCall(newAccount(memory, 0, false))
		r, err := readResponse(connection, int64(len(body)), 11, c)
		got := "none"
		if err == nil {
			got = []string{"", "the first", "both"}[len(r.Messages)]
		}
		rest, _ := io.ReadAll(connection)
		if err != nil && !errors.As(err, new(*shortError)) || got != want || string(rest) != "next" {
			t.Errorf("%d bytes are taken: %s, %v, and %q follows", taken, got, err, rest)
		}
		c.account.release()
		if now, _ := memory.Used(); now != taken {
			t.Errorf("%d bytes are taken, want %d", now, taken)
		}
	}
}

// A fetch ahead of what is processed leaves half of the memory to others, and one that is not may
// have the other half.
func TestFetchAheadLeavesHalfOfTheMemory(t *testing.T) {
	t.Parallel()
	memory := NewMemory(100)
	ahead, head := newAccount(memory, 0, true), newAccount(memory, 0, false)
	if err := ahead.grow(50); err != nil {
		t.Error(err)
	}
	if err := ahead.grow(1); !errors.As(err, new(*shortError)) {
		t.Errorf("51 of 100 bytes ahead: %v", err)
	}
	if err := head.grow(50); err != nil {
		t.Error(err)
	}
	released := make(chan struct{})
	for _, test := range []struct {
		after <-chan struct{}
		want  bool
	}{{nil, false}, {released, true}, {head.done, true}} {
		if got := (&Request{After: test.after}).ahead(); got != test.want {
			t.Errorf("ahead: %v", got)
		}
	}
	head.release()
	if (&Request{After: head.done}).ahead() {
		t.Error("ahead of what is released")
	}
}

// Whatever the needs are: nobody waits for ever, and never is more taken than there is. That is
// what Fetch does with the memory.
func TestAllWhoWaitForMemoryAreServed(t *testing.T) {
	t.Parallel()
	const total, partitions, fetches = 1000, 16, 300
	memory := NewMemory(total)
	var all sync.WaitGroup
	for seed := range partitions {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(seed), 1))
			responses := make(chan *account) // to the worker, which processes one at a time
			var worker sync.WaitGroup
			worker.Go(func() {
				for a := range responses {
					runtime.Gosched()
					a.release()
				}
			})
			for range fetches {
				needs := []int64{random.Int64N(total / 2), random.Int64N(total/2 + 1)}
				a := newAccount(memory, 0, false)
				for {
					err := a.grow(needs[0])
					if err == nil {
						runtime.Gosched()
						err = a.grow(needs[1])
					}
					var short *shortError
					ok := errors.As(err, &short)
					if !ok {
						if err != nil {
							t.Error(err)
						}

						break
					}
					a.release()
					reserved := min(2*short.bytes, total)
					ctx, cancel := context.WithCancel(t.Context())
					if random.IntN(10) == 0 {
						cancel() // Partitions are revoked in the middle.
					}
					if memory.wait(ctx, reserved) != nil {
						reserved = 0
					}
					cancel()
					a = newAccount(memory, reserved, false)
				}
				a.settle()
				responses <- a
			}
			close(responses)
			worker.Wait()
		})
	}
	all.Wait()
	if now, peak := memory.Used(); now != 0 || peak > total {
		t.Errorf("%d are taken, %d were at most", now, peak)
	}
}

// A fetch for whose answer nobody waits any more goes on for a moment in kafka-go's goroutine.
func TestAbandonedFetchGivesItsMemoryBack(t *testing.T) {
	t.Parallel()
	memory := NewMemory(100)
	a := newAccount(memory, 0, false)
	if !memory.take(40, 100) {
		t.Fatal("there is none")
	}
	a.reserved = 40
	if err := a.grow(60); err != nil {
		t.Fatal(err)
	}
	a.release()
	a.shrink(10)
	if !errors.As(a.grow(1), new(*shortError)) {
		t.Error("it got more")
	}
	a.settle()
	a.release()
	if now, _ := memory.Used(); now != 0 {
		t.Errorf("%d bytes are taken", now)
	}
}

// Records that there is no memory for are passed over, and the next partition of the answer gets its own.
func TestAnswerIsReadOnBehindWhatThereIsNoMemoryFor(t *testing.T) {
	t.Parallel()
	const total = 1 << 20
	memory := NewMemory(total)
	if !memory.take(total, total) {
		t.Fatal("the memory is not empty")
	}
	short := newCall(Request{Topic: "t", Partition: 0, MaxWait: long}, newAccount(memory, 0, false))
	other := newCall(Request{Topic: "t", Partition: 1, MaxWait: long}, nil)
	body := answerOf(0,
		part{partition: 0, records: testBatch{values: []string{strings.Repeat("l", total/2)}}.encode(t)},
		part{partition: 1, records: testBatch{values: []string{"b"}}.encode(t)})
	if err := exchangeOf(short, other).answerWith(bytes.NewReader(body), int64(len(body)), 11); err != nil {
		t.Errorf("the connection is of no use any more: %v", err)
	}
	if _, err := (<-short.answered).decode(short); !errors.As(err, new(*shortError)) {
		t.Errorf("the one without memory gets %v", err)
	}
	got, err := (<-other.answered).decode(other)
	if err != nil || len(got.Messages) != 1 || string(got.Messages[0].Value) != "b" {
		t.Errorf("the other one gets %+v, %v", got, err)
	}
}
