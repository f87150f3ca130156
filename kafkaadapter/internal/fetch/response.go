package fetch

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/consume"
)

// Response holds the records that a fetch found.
type Response struct {
	// Messages are committed and in the order of their offsets. Keys, values, headers and the
	// messages themselves share memory with those of the same response, which is never used
	// again: a single one that is kept holds on to all of it.
	Messages []consume.Record
	// Next is where the next fetch has to start: behind all that was read, be it records,
	// aborted ones, transaction markers or holes.
	Next int64
	// HighWatermark is the offset behind the last record that is replicated; LastStable that
	// of the first record of the oldest open transaction, up to which records are delivered.
	HighWatermark int64
	LastStable    int64
	// LogStart is the offset of the first record that is left, or -1 from an old broker.
	LogStart int64
	// LeaderEpoch is the partition leader's epoch in which the last batch was written (KIP-320),
	// or -1 if there is none.
	LeaderEpoch int32
	// Throttle is how long the broker wants this client to wait before it asks again, because
	// it is over its quota. Then there may be no records although the log has some.
	Throttle time.Duration

	shared  bool // messages share memory with the response's body
	done    bool // it has no records
	account *account
}

// Release gives back what the response has taken of Request.Memory. The messages must not be
// used any more. It may be called more than once.
func (r *Response) Release() { r.account.release() }

// Released is closed by Release. It is nil without Request.Memory.
func (r *Response) Released() <-chan struct{} {
	if r.account == nil {
		return nil
	}

	return r.account.done
}

// abortedTransaction is one whose records, from first on, must not be delivered.
type abortedTransaction struct {
	producer, first int64
}

// decode reads the body of a response to a request for one partition.
func decode(request Request, version int16, body []byte, a *account) (*Response, error) {
	c := &cursor{data: body}
	response, aborted, err := decodeHeader(c, request, version)
	if err != nil || response.done {
		return response, err
	}
	response.account = a
	records := c.bytes(int(max(0, c.int32())))
	if c.bad {
		return nil, fmt.Errorf("%w: it ends too early", ErrMalformed)
	}
	d := decoder{request: request, response: response, aborted: aborted, account: a}
	if len(records) > 0 && request.Before != nil {
		if d.care, err = request.Before(); err != nil {
			return nil, err
		}
	}
	if err := d.batches(records); err != nil {
		return nil, err
	}

	return response, nil
}

// decodeTooLarge makes the error about a response of which only the beginning was read.
func decodeTooLarge(request Request, version int16, body []byte, tooLarge error) error {
	c := &cursor{data: body}
	response, _, err := decodeHeader(c, request, version)
	c.int32() // length of the records
	switch {
	case err != nil:
		return err
	case c.bad || c.left() < lengthPrefix+headerBytes:
		return tooLarge
	}
	d := decoder{request: request, response: response}
	err = d.unparsed(c.rest(), tooLarge)
	var bad *UnreadableError
	if errors.As(err, &bad) {
		bad.Raw, bad.Damaged, bad.Size = nil, false, int(binary.BigEndian.Uint32(c.rest()[8:]))+lengthPrefix
	}

	return err
}

// decodeHeader reads what stands before the records. If the response is done, there is nothing
// else.
func decodeHeader(c *cursor, request Request, version int16) (*Response, []abortedTransaction, error) {
	response := &Response{Next: request.Offset, LogStart: -1, LeaderEpoch: -1}
	response.Throttle = time.Duration(max(0, c.int32())) * time.Millisecond
	if version >= 7 {
		if code := c.int16(); code != 0 {
			return nil, nil, kafka.Error(code) //nolint:wrapcheck // The caller wraps it.
		}
		c.int32() // session id
	}
	switch n := c.int32(); {
	case n == 0 && !c.bad && response.Throttle > 0:
		response.done = true

		return response, nil, nil
	case n != 1:
		return nil, nil, fmt.Errorf("%w: it has %d topics", ErrMalformed, n)
	}
	c.bytes(int(c.int16())) // topic
	if n := c.int32(); n != 1 {
		return nil, nil, fmt.Errorf("%w: it has %d partitions", ErrMalformed, n)
	}
	c.int32() // partition
	code := c.int16()
	response.HighWatermark = c.int64()
	response.LastStable = c.int64()
	if version >= 5 {
		response.LogStart = c.int64()
	}
	aborted := decodeAborted(c)
	if version >= 11 {
		c.int32() // preferred read replica
	}
	switch {
	case code != 0:
		return nil, nil, kafka.Error(code) //nolint:wrapcheck // The caller wraps it.
	case c.bad:
		return nil, nil, fmt.Errorf("%w: it ends too early", ErrMalformed)
	}

	return response, aborted, nil
}

func decodeAborted(c *cursor) []abortedTransaction {
	const size = 16
	n := int(max(0, c.int32()))
	if n > c.left()/size {
		c.fail()

		return nil
	}
	aborted := make([]abortedTransaction, n)
	for i := range aborted {
		aborted[i] = abortedTransaction{producer: c.int64(), first: c.int64()}
	}
	slices.SortStableFunc(aborted, func(a, b abortedTransaction) int { return cmp.Compare(a.first, b.first) })

	return aborted
}
