package fetch

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/segmentio/kafka-go"
)

// testCall is one for the partition that testResponse answers for.
func testCall(a *account) *call {
	return newCall(Request{Topic: "t", Partition: 3}, a)
}

// exchangeOf is a request for these calls, whose source sends nothing.
func exchangeOf(calls ...*call) *exchange {
	s := newSource(&Fetcher{}, 1)
	s.workers = make([]*worker, maxConnections)
	for i := range s.workers {
		s.workers[i] = &worker{source: s, request: new(exchange)}
	}
	for _, c := range calls {
		s.add(c)
	}

	return s.take(func(*call) bool { return true })
}

// answerWith reads the body of an answer, and returns the error of the connection.
func (x *exchange) answerWith(connection io.Reader, size int64, version int16) error {
	from := newStream(connection)
	from.reset(size)
	err := x.read(from, version)
	x.source.finish(&worker{}, x, err)

	return err
}

// readResponse reads and decodes the body of a response to a request for one partition.
func readResponse(connection io.Reader, size int64, version int16, c *call) (*Response, error) {
	_ = exchangeOf(c).answerWith(connection, size, version) // The call gets it.

	return (<-c.answered).decode(c)
}

// decode reads and decodes the body of a response to a request for one partition.
func decode(request Request, version int16, body []byte) (*Response, error) {
	request.Topic, request.Partition = "t", 3

	return readResponse(bytes.NewReader(body), int64(len(body)), version, newCall(request, nil))
}

// Whatever a broker answers: it ends no process, and who has got no answer gets an error.
func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	good := testBatch{values: []string{"a"}}.encode(t)
	for name, test := range map[string]struct {
		body        []byte
		first       string // what partition 0 gets; partition 1 gets an error
		usableAgain bool   // the connection
	}{
		"nobody asked for it":  {answerOf(0, part{partition: 0, records: good}, part{partition: 7}), "0:a", false},
		"twice":                {answerOf(0, part{partition: 0, records: good}, part{partition: 0, records: good}), "0:a", false},
		"twice without any":    {answerOf(0, part{partition: 0}, part{partition: 0}), "", false},
		"negative":             {answerOf(0, part{partition: 0, records: good}, part{partition: -1}), "0:a", false},
		"one is lacking":       {answerOf(0, part{partition: 0}), "", true},
		"an error of its own":  {answerOf(0, part{partition: 1, code: kafka.NotLeaderForPartition}, part{partition: 0, records: good}), "0:a", true},
		"the end is missing":   {answerOf(0, part{partition: 0, records: good}, part{partition: 1, records: good})[:200], "0:a", false},
		"more bytes than said": {append(answerOf(0, part{partition: 0}), "more"...), "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := newCall(Request{Topic: "t", Partition: 0}, nil), newCall(Request{Topic: "t", Partition: 1}, nil)
			err := exchangeOf(first, second).answerWith(bytes.NewReader(test.body), int64(len(test.body)), 11)
			if (err == nil) != test.usableAgain {
				t.Errorf("the connection: %v", err)
			}
			if r, err := (<-first.answered).decode(first); err != nil || values(r) != test.first {
				t.Errorf("partition 0: %+v, %v", r, err)
			}
			if r, err := (<-second.answered).decode(second); !errors.Is(err, ErrMalformed) && !errors.Is(err, kafka.NotLeaderForPartition) {
				t.Errorf("partition 1: %+v, %v", r, err)
			}
		})
	}
}

// FuzzAnswer reads answers to a request for three partitions. Each gets one answer.
func FuzzAnswer(f *testing.F) {
	good := testBatch{values: []string{"a"}}.encode(f)
	f.Add(int16(11), answerOf(0, part{partition: 0, records: good}, part{partition: 1}, part{partition: 2, code: kafka.NotLeaderForPartition}))
	f.Add(int16(4), answerOf(0))
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		memory := NewMemory(1 << 16)
		calls := make([]*call, 3)
		for i := range calls {
			calls[i] = newCall(Request{Topic: "t", Partition: i, Memory: memory}, newAccount(memory, 0, false))
		}
		_ = exchangeOf(calls...).answerWith(bytes.NewReader(body), int64(len(body)), version)
		for _, c := range calls {
			_, _ = (<-c.answered).decode(c)
			if len(c.answered) > 0 {
				t.Error("two answers")
			}
			c.account.release()
		}
		if now, _ := memory.Used(); now != 0 {
			t.Errorf("%d bytes are taken", now)
		}
	})
}
