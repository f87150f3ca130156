package fetch

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	protocolfetch "github.com/segmentio/kafka-go/protocol/fetch"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

// maxRequestBytes is how much a request for many partitions asks for in all: more would keep its
// connection busy for too long.
const maxRequestBytes = 8 << 20

// exchange is a request to a broker for the records of partitions, and its answer.
type exchange struct {
	source *source
	calls  []*call // in the order of the request; nil once they are answered
	prompt bool    // the partitions have records, as far as is known
	hold   time.Duration

	at       int // of the call whose answer probably comes next
	throttle time.Duration
	refused  error   // what the broker says of the request as a whole
	records  bool    // there are some
	empty    []*call // those for which there are none
}

// maxHold is how long the broker may hold back its answer.
func (x *exchange) maxHold() time.Duration {
	hold := x.calls[0].MaxWait
	for _, c := range x.calls {
		hold = min(hold, c.MaxWait)
	}

	return hold
}

// roundTrip sends the request and reads the answer. Calls get theirs as soon as it is
// read. After an error the connection is of no use.
func (x *exchange) roundTrip(connection io.ReadWriter, from *stream, version int16) error {
	if err := protocol.WriteRequest(connection, version, wire.Correlation, x.source.fetcher.clientID, x.encode()); err != nil {
		return err
	}
	size, err := wire.ReadHeader(connection)
	switch {
	case errors.Is(err, wire.ErrMalformed):
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	case err != nil:
		return err
	}
	from.reset(size)

	return x.read(from, version)
}

// encode makes the request. Topics may come more than once, for the order of the partitions to be
// that of the calls.
func (x *exchange) encode() *protocolfetch.Request {
	request := &protocolfetch.Request{
		ReplicaID:      -1,
		MaxWaitTime:    int32(x.hold.Milliseconds()), //nolint:gosec // New checks its range.
		MinBytes:       1,
		IsolationLevel: readCommitted,
		SessionEpoch:   -1, // no session
	}
	largest, all := int64(0), int64(0)
	partitions := make([]protocolfetch.RequestPartition, len(x.calls))
	begin := 0
	for i, c := range x.calls {
		if i == 0 || c.Topic != x.calls[i-1].Topic {
			begin = i
			request.Topics = append(request.Topics, protocolfetch.RequestTopic{Topic: c.Topic})
		}
		maxBytes := c.maxBytes()
		largest, all = max(largest, maxBytes), all+maxBytes
		partitions[i] = protocolfetch.RequestPartition{
			Partition:          int32(c.Partition), //nolint:gosec // The broker has assigned it.
			CurrentLeaderEpoch: -1,
			FetchOffset:        c.Offset,
			LogStartOffset:     -1,
			PartitionMaxBytes:  int32(maxBytes), //nolint:gosec // It is small enough.
		}
		request.Topics[len(request.Topics)-1].Partitions = partitions[begin : i+1 : i+1]
	}
	request.MaxBytes = int32(min(all, max(largest, maxRequestBytes)))

	return request
}

// find returns the call of a partition that the answer names, which is not answered yet, and takes it out.
// Answers are in the order of the request, more or less.
func (x *exchange) find(topic []byte, partition int) (*call, error) {
	for range x.calls {
		i := x.at
		if x.at++; x.at == len(x.calls) {
			x.at = 0
		}
		if c := x.calls[i]; c != nil && c.Partition == partition && c.Topic == string(topic) {
			x.calls[i] = nil

			return c, nil
		}
	}

	return nil, fmt.Errorf("%w: it has partition %d of topic %q, which is not asked for or was there already", ErrMalformed, partition, topic)
}

// spare counts partitions that a whole answer leaves out as those without records. Apache Kafka names all,
// but other brokers stop when the answer is full.
func (x *exchange) spare() {
	for i, c := range x.calls {
		if c != nil {
			x.calls[i] = nil
			x.empty = append(x.empty, c)
		}
	}
}

// missing is what a call gets that the answer does not name, because of err if there is one. A broker that
// throttles the client answers without partitions.
func (x *exchange) missing(c *call, err error) *answer {
	switch {
	case err != nil:
		return &answer{err: err}
	case x.refused != nil:
		return &answer{err: x.refused}
	case x.throttle > 0:
		return &answer{ends: c.partition.ends, throttle: x.throttle}
	default:
		return &answer{err: fmt.Errorf("%w: it lacks a partition that was asked for", ErrMalformed)}
	}
}

// read reads an answer to its end.
func (x *exchange) read(from *stream, version int16) error {
	x.throttle = time.Duration(max(0, from.int32())) * time.Millisecond
	if version >= 7 {
		if code := from.int16(); code != 0 && from.err == nil {
			x.refused = kafka.Error(code)
		}
		from.int32() // session id
	}
	var topic []byte
	for topics := from.int32(); topics > 0 && from.err == nil; topics-- {
		topic = append(topic[:0], from.bytes(int(from.int16()))...)
		for partitions := from.int32(); partitions > 0 && from.err == nil; partitions-- {
			if err := x.readPartition(from, version, topic); err != nil {
				return err
			}
		}
	}
	from.skip(from.left)

	return from.err
}

// readPartition reads what an answer says of one partition, and hands it over.
func (x *exchange) readPartition(from *stream, version int16, topic []byte) error {
	number := int(from.int32())
	code := from.int16()
	a := answer{throttle: x.throttle, ends: ends{highWatermark: from.int64(), lastStable: from.int64(), logStart: -1}}
	if version >= 5 {
		a.logStart = from.int64()
	}
	if from.err != nil {
		return from.err
	}
	c, err := x.find(topic, number)
	if err != nil {
		return err
	}
	if code != 0 {
		a.err = kafka.Error(code)
	} else {
		x.source.learn(c.partition, a.ends)
	}
	a.readAborted(from, c)
	if version >= 11 {
		from.int32() // preferred read replica
	}
	size := int64(max(0, from.int32()))
	if size > from.left {
		from.fail()
	}
	switch {
	case a.err != nil || from.err != nil:
		from.skip(size)
	case size == 0:
		x.empty = append(x.empty, c)

		return nil
	default:
		x.records = true
		a.read(from, c, size)
	}
	if from.err != nil {
		a.err = from.err
	}
	handed := a
	x.source.answer(c, &handed)

	return from.err
}
