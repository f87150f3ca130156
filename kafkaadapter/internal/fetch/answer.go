package fetch

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// answer is what a broker has sent for a partition. It is decoded by who has asked: that takes
// time, and waits for others, and the connection can be used meanwhile.
type answer struct {
	ends

	err       error
	throttle  time.Duration
	aborted   []abortedTransaction
	records   *body  // nil if there are none
	beginning []byte // of records that are larger than all memory, which err says
}

// ends are the offsets that a broker tells with each answer (Response).
type ends struct{ highWatermark, lastStable, logStart int64 }

// abortedTransaction is one whose records, from first on, must not be delivered.
type abortedTransaction struct {
	producer, first int64
}

// readAborted reads the aborted transactions. If there is no memory for them, a.err says so.
func (a *answer) readAborted(from *stream, c *call) {
	const size = 16
	n := int64(max(0, from.int32()))
	if n > from.left/size {
		from.fail()
	}
	if n == 0 || from.err != nil {
		return
	}
	if err := c.account.grow(n * size); err != nil {
		a.err = err
		from.skip(n * size)

		return
	}
	a.aborted = make([]abortedTransaction, n)
	for i := range a.aborted {
		a.aborted[i] = abortedTransaction{producer: from.int64(), first: from.int64()}
	}
	slices.SortStableFunc(a.aborted, func(a, b abortedTransaction) int { return cmp.Compare(a.first, b.first) })
}

// read reads the records. If there is no memory for them, they are left out, and a.err says so.
func (a *answer) read(from *stream, c *call, size int64) {
	err := c.account.grow(bodyCost(size))
	switch {
	case size > c.account.limit() || err != nil && !errors.As(err, new(*shortError)):
		// Brokers send so much only if the first batch is so large, and its header tells where it ends.
		const enough = lengthPrefix + headerBytes
		a.err = fmt.Errorf("%d bytes of records: %w, %d are allowed", size, ErrTooLarge, c.account.limit())
		a.beginning = slices.Clone(from.bytes(int(min(size, enough))))
		from.skip(size - int64(len(a.beginning)))
	case err != nil:
		a.err = err
		from.skip(size)
	default:
		a.records = newBody(int(size))
		from.body(a.records, size)
	}
}

// decode makes a response of an answer, which must not be used any more.
func (a *answer) decode(c *call) (*Response, error) {
	r := &Response{
		Next: c.Offset, HighWatermark: a.highWatermark, LastStable: a.lastStable, LogStart: a.logStart, LeaderEpoch: -1,
		Throttle: a.throttle, account: c.account,
	}
	d := decoder{request: c.Request, response: r, aborted: a.aborted, account: c.account}
	switch {
	case len(a.beginning) >= lengthPrefix+headerBytes:
		return nil, d.tooLarge(a.beginning, a.err)
	case a.err != nil:
		return nil, a.err
	case a.records == nil:
		return r, nil
	}
	if c.Before != nil {
		var err error
		if d.care, err = c.Before(); err != nil {
			return nil, err
		}
	}
	if err := d.batches(a.records.buffer); err != nil {
		return nil, err
	}
	size := int64(len(a.records.buffer))
	if r.shared {
		c.account.shrink(bodyCost(size) - size)
	} else {
		a.records.release()
		c.account.shrink(bodyCost(size))
	}

	return r, nil
}

// tooLarge makes the error about records of which only the beginning was read.
func (d *decoder) tooLarge(beginning []byte, tooLarge error) error {
	err := d.unparsed(beginning, tooLarge)
	var bad *UnreadableError
	if errors.As(err, &bad) {
		bad.Raw, bad.Damaged, bad.Size = nil, false, int(binary.BigEndian.Uint32(beginning[8:]))+lengthPrefix
	}

	return err
}
