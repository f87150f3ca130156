package fetch

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/internal/await"
	"github.com/nova-events/idempotent-consumer/internal/engine"
)

// long is how long requests may be held back in tests in which that must not matter.
const long = time.Minute

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}

	return all
}

// without are the parts of an answer without records to a request.
func without(a *asked) (parts []part) {
	for _, number := range a.partitions() {
		parts = append(parts, part{partition: int(number)})
	}

	return parts
}

// withRecordsOf is the answer to a request with one record for one of the partitions.
func withRecordsOf(t *testing.T, a *asked, partition int, offset int64) []byte {
	t.Helper()
	parts := without(a)
	for i := range parts {
		if parts[i].partition == partition {
			parts[i].records = testBatch{base: offset, values: []string{strconv.Itoa(partition)}}.encode(t)
		}
	}

	return answerOf(0, parts...)
}

// settle answers requests without records until the partitions wait together in requests that are held for long,
// and returns those.
func (s *script) settle(t *testing.T, partitions int) (held []*asked) {
	t.Helper()
	for waiting := 0; waiting < partitions; {
		a := s.next(t)
		if a.MaxWaitTime < int32(long.Milliseconds()) {
			a.answer(answerOf(0, without(a)...))

			continue
		}
		waiting += len(a.partitions())
		held = append(held, a)
	}

	return held
}

func TestManyPartitionsShareTwoConnections(t *testing.T) {
	t.Parallel()
	const partitions = 1000
	s := startScript(t, partitions)
	ctx, stop := context.WithCancel(t.Context())
	all := s.fetch(ctx, Request{MaxBytes: 1 << 20, MaxWait: long}, upTo(partitions)...)
	held := s.settle(t, partitions)
	if len(held) > maxConnections || s.most > maxConnections {
		t.Errorf("%d requests at a time, %d connections at a time", len(held), s.most)
	}
	stop()
	for _, one := range all {
		if got := <-one; !errors.Is(got.err, context.Canceled) {
			t.Errorf("%+v", got)
		}
	}
}

// One that has come back too late for the request of the others must not wait for its end.
func TestBusyPartitionDoesNotWaitForIdleOnes(t *testing.T) {
	t.Parallel()
	var (
		s    *script
		held []*asked
	)
	for len(held) != 1 { // If the machine has stood still for a second, nobody seemed to come any more, and both connections are held.
		s = startScript(t, 3)
		s.fetch(t.Context(), Request{MaxBytes: 1 << 20, MaxWait: long}, 0, 1)
		held = s.settle(t, 2)
	}
	for offset := range int64(50) {
		one := s.fetch(t.Context(), Request{MaxBytes: 1 << 20, MaxWait: long, Offset: offset}, 2)
		a := s.next(t)
		a.answer(withRecordsOf(t, a, 2, offset))
		if got := <-one[0]; got.err != nil || len(got.Messages) != 1 {
			t.Fatalf("fetch %d: %+v", offset, got)
		}
	}
	for _, a := range held {
		a.answer(answerOf(0, without(a)...))
	}
}

// While a partition may ask, a broker holds back one answer for long, not two.
func TestOneConnectionIsFreeSoonWhileAPartitionMayAsk(t *testing.T) {
	t.Parallel()
	s := startScript(t, 3)
	request := Request{MaxBytes: 1 << 20, MaxWait: long, Offset: 900} // the last stable offset
	first := s.fetch(t.Context(), request, 0)
	s.settle(t, 1) // One connection is held.
	s.fetch(t.Context(), request, 1, 2)
	held := s.settle(t, 2)
	if len(held) == 1 { // The other, too.
		held[0].answer(withRecordsOf(t, held[0], 1, 900))
	} else {
		t.Fatalf("%d requests", len(held))
	}
	a := s.next(t) // Partition 1 is away.
	if hold := time.Duration(a.MaxWaitTime) * time.Millisecond; hold >= time.Second || !slices.Equal(a.partitions(), []int32{2}) {
		t.Errorf("partitions %v are held for %v", a.partitions(), hold)
	}
	a.answer(answerOf(0, without(a)...))
	select {
	case got := <-first[0]:
		t.Errorf("%+v", got)
	default:
	}
}

// The broker fills its answer in the order of the request. So those come first that got nothing, and they do not
// wait if they have records. Some brokers leave out those for which there was no room.
func TestPartitionsTakeTurns(t *testing.T) {
	t.Parallel()
	for name, rest := range map[string][]part{"empty": {{partition: 1}, {partition: 2}}, "left out": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls []*call
			for p := range 3 {
				calls = append(calls, newCall(Request{Topic: "t", Partition: p, MaxWait: long}, nil))
			}
			x := exchangeOf(calls...)
			body := answerOf(0, append([]part{{partition: 0, records: testBatch{values: []string{"a"}}.encode(t)}}, rest...)...)
			from := newStream(bytes.NewReader(body))
			from.reset(int64(len(body)))
			if err := x.read(from, 11); err != nil {
				t.Fatal(err)
			}
			x.source.add(newCall(Request{Topic: "t", Offset: 1}, nil)) // It has its records before the request has ended.
			x.source.finish(&worker{}, x, nil)
			var got []int
			for _, c := range x.source.take(func(c *call) bool { return c.prompt }).calls {
				got = append(got, c.Partition)
			}
			if !slices.Equal(got, []int{1, 2, 0}) {
				t.Errorf("next are the partitions %v", got)
			}
		})
	}
}

func TestErrorOfOnePartitionIsItsOwn(t *testing.T) {
	t.Parallel()
	s := startScript(t, 3)
	all := s.fetch(t.Context(), Request{MaxBytes: 1 << 20, MaxWait: long}, 0, 1, 2)
	held := s.settle(t, 3)
	for _, a := range held {
		var parts []part
		for _, number := range a.partitions() {
			p := part{partition: int(number)}
			if number == 1 {
				p.code = kafka.NotLeaderForPartition
			}
			parts = append(parts, p)
		}
		a.answer(answerOf(0, parts...))
	}
	if got := <-all[1]; !errors.Is(got.err, kafka.NotLeaderForPartition) {
		t.Errorf("%+v", got)
	}
	for waiting := map[int32]bool{}; len(waiting) < 2; { // The others wait on.
		a := s.next(t)
		for _, number := range a.partitions() {
			waiting[number] = true
		}
		a.answer(answerOf(0, without(a)...))
	}
}

// After an answer that makes no sense those whose part of it has not come get an error, and ask over another
// connection.
func TestConsumerGoesOnAfterAHostileAnswer(t *testing.T) {
	t.Parallel()
	s := startScript(t, 2)
	request := Request{MaxBytes: 1 << 20, MaxWait: long}
	one := s.fetch(t.Context(), request, 0)
	s.next(t).answer(answerOf(0, part{partition: 1}))
	if got := <-one[0]; !errors.Is(got.err, ErrMalformed) {
		t.Errorf("%+v", got)
	}
	one = s.fetch(t.Context(), request, 0)
	a := s.next(t)
	a.answer(withRecordsOf(t, a, 0, 0))
	if got := <-one[0]; got.err != nil || len(got.Messages) != 1 {
		t.Errorf("%+v", got)
	}
}

// Who does not wait any more leaves nothing behind, and the others of its request get what is theirs.
func TestAbandonedPartition(t *testing.T) {
	t.Parallel()
	s := startScript(t, 2)
	memory := NewMemory(1 << 20)
	request := Request{MaxBytes: 1 << 20, MaxWait: long, Memory: memory}
	ctx, abandon := context.WithCancel(t.Context())
	left := s.fetch(ctx, request, 0)
	stays := s.fetch(t.Context(), request, 1)
	held := s.settle(t, 2)
	abandon()
	if got := <-left[0]; !errors.Is(got.err, context.Canceled) {
		t.Errorf("%+v", got)
	}
	value := strings.Repeat("x", 100<<10)
	for _, a := range held {
		var parts []part
		for _, number := range a.partitions() {
			parts = append(parts, part{partition: int(number), records: testBatch{values: []string{value}}.encode(t)})
		}
		a.answer(answerOf(0, parts...))
	}
	got := <-stays[0]
	if got.err != nil || len(got.Messages) != 1 {
		t.Fatalf("%+v", got)
	}
	if now, _ := memory.Used(); now <= int64(len(value)) || now > 2*int64(len(value)) {
		t.Errorf("%d bytes are taken", now)
	}
	got.Release()
	if now, _ := memory.Used(); now != 0 {
		t.Errorf("%d bytes are taken after all is released", now)
	}
}

// Partitions whose records find no memory ask again for them.
func TestPartitionsOfOneAnswerWaitForMemory(t *testing.T) {
	t.Parallel()
	s := startScript(t, 2)
	memory := NewMemory(1 << 20)
	if !memory.take(900<<10, 1<<20) {
		t.Fatal("the memory is not empty")
	}
	all := s.fetch(t.Context(), Request{MaxBytes: 1 << 20, MaxWait: long, Memory: memory}, 0, 1)
	held := s.settle(t, 2)
	value := strings.Repeat("l", 400<<10)
	answer := func(a *asked) []byte {
		var parts []part
		for _, number := range a.partitions() {
			parts = append(parts, part{partition: int(number), records: testBatch{values: []string{value}}.encode(t)})
		}

		return answerOf(0, parts...)
	}
	for _, a := range held {
		a.answer(answer(a))
	}
	await.Until(t, "both partitions to wait", func() bool {
		memory.mu.Lock()
		defer memory.mu.Unlock()

		return len(memory.waiting) == 2
	})
	memory.give(900 << 10)
	s.answerAll(t, answer)
	for range all {
		var got fetched
		select {
		case got = <-all[0]:
		case got = <-all[1]:
		}
		if got.err != nil || len(got.Messages) != 1 {
			t.Fatalf("%+v", got)
		}
		got.Release()
	}
	if now, peak := memory.Used(); now != 0 || peak > 1<<20 {
		t.Errorf("%d bytes are taken, %d were at most", now, peak)
	}
}

// Records that are larger than all memory are told by their beginning; those behind them arrive.
func TestRecordsLargerThanTheMemoryHoldUpNoOther(t *testing.T) {
	t.Parallel()
	s := startScript(t, 2)
	request := Request{MaxBytes: 1 << 20, MaxWait: long, Memory: NewMemory(1 << 20)}
	large := s.fetch(t.Context(), request, 0)
	small := s.fetch(t.Context(), request, 1)
	values := []string{strings.Repeat("l", 2<<20), "small"}
	for _, a := range s.settle(t, 2) {
		var parts []part
		for _, number := range a.partitions() {
			parts = append(parts, part{partition: int(number), records: testBatch{values: values[number : number+1]}.encode(t)})
		}
		a.answer(answerOf(0, parts...))
	}
	if got := <-small[0]; got.err != nil || len(got.Messages) != 1 {
		t.Errorf("%+v", got)
	}
	var bad *UnreadableError
	if got := <-large[0]; !errors.As(got.err, &bad) || !errors.Is(got.err, ErrTooLarge) || bad.First != 0 || bad.Last != 0 {
		t.Errorf("%+v", got)
	}
}

// Decoding can wait for something else. It holds up its own partition alone.
func TestSlowDecodingHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	s := startScript(t, 2)
	begun, goOn := make(chan struct{}), make(chan struct{})
	slow := s.fetch(t.Context(), Request{MaxBytes: 1 << 20, MaxWait: long, Before: func() (engine.Care, error) {
		close(begun)
		<-goOn

		return engine.DecodeAll, nil
	}}, 0)
	for _, a := range s.settle(t, 1) {
		a.answer(withRecordsOf(t, a, 0, 0))
	}
	<-begun
	for offset := range int64(10) {
		other := s.fetch(t.Context(), Request{MaxBytes: 1 << 20, MaxWait: long, Offset: offset}, 1)
		a := s.next(t)
		a.answer(withRecordsOf(t, a, 1, offset))
		if got := <-other[0]; got.err != nil || len(got.Messages) != 1 {
			t.Fatalf("%+v", got)
		}
	}
	close(goOn)
	if got := <-slow[0]; got.err != nil || len(got.Messages) != 1 {
		t.Errorf("%+v", got)
	}
}

// A broker that throttles the client is left alone by all partitions.
func TestThrottledBrokerIsLeftAlone(t *testing.T) {
	t.Parallel()
	const wait = 300 * time.Millisecond
	s := startScript(t, 2)
	request := Request{MaxBytes: 1 << 20, MaxWait: long}
	one := s.fetch(t.Context(), request, 0)
	a := s.settle(t, 1)[0]
	told := time.Now()
	a.answer(answerOf(wait))
	if got := <-one[0]; got.err != nil || got.Throttle != wait {
		t.Fatalf("%+v", got)
	}
	s.fetch(t.Context(), request, 0, 1)
	s.next(t)
	if passed := time.Since(told); passed < wait {
		t.Errorf("asked again after %v", passed)
	}
}

// The fetch after one that has found another leader asks for it, and no other does.
func TestLeaderThatHasMovedIsAskedFor(t *testing.T) {
	t.Parallel()
	s := startScript(t, 2)
	for i, test := range []struct {
		answer  []byte // nil: the connection is closed
		leaders int32  // how often they have been asked for by the next fetch
	}{
		{answerOf(0, part{partition: 0, records: testBatch{values: []string{"a"}}.encode(t)}), 1},
		{answerOf(0, part{partition: 0, code: kafka.OffsetOutOfRange}), 1},
		{answerOf(0, part{partition: 0, code: kafka.NotLeaderForPartition}), 2},
		{answerOf(0, part{partition: 0, code: kafka.UnknownLeaderEpoch}), 3},
		{nil, 4},
		{answerOf(0, part{partition: 0, records: testBatch{values: []string{"a"}}.encode(t)}), 4},
	} {
		got := s.fetch(t.Context(), Request{MaxBytes: 1 << 20, MaxWait: long}, 0)
		s.next(t).answer(test.answer)
		<-got[0]
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // The leaders are not asked for more often.
		next := s.fetch(t.Context(), Request{MaxBytes: 1 << 20, MaxWait: long}, 0)
		s.next(t).answer(answerOf(0, part{partition: 0, records: testBatch{values: []string{"a"}}.encode(t)}))
		if r := <-next[0]; r.err != nil || s.leaders.Load() != test.leaders {
			t.Errorf("%d: %v, the leaders were asked for %d times, want %d", i, r.err, s.leaders.Load(), test.leaders)
		}
	}
}
