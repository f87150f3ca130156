package franzadapter

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/engine"
)

const (
	// maxDecoded is what the batches of a response become at most, but for the first one. Those that
	// are left out come with the next response.
	maxDecoded = 32 << 20

	compressionMask  = 0x07
	logAppendTimeBit = 0x08
	transactionalBit = 0x10
	controlBit       = 0x20
)

// errTooLarge is that of a batch that becomes larger than all that may be buffered.
var errTooLarge = errors.New("too large")

// decoder decodes the committed records of a partition's response. kgo's own decoder does not say which
// batch it cannot read. It drops records if their batch ends too early or another record has their
// offset, and it begins to decode before the start can be noted.
type decoder struct {
	decompressor kgo.Decompressor
	topic        string
	partition    int32
	offset       int64 // that was asked for
	end          int64 // the high watermark

	aborted  map[int64][]int64 // by producer, the first offsets of transactions that are not reached yet, in their order
	aborting map[int64]bool    // producers inside an aborted transaction

	records     []consume.Record
	next        int64 // the offset after what is decoded
	leaderEpoch int32 // of the last batch
	bytes       int64 // that the records take up beyond what was fetched
}

func newDecoder(p partition, offset int64, response *kmsg.FetchResponseTopicPartition, decompressor kgo.Decompressor) *decoder {
	d := &decoder{
		decompressor: decompressor, topic: p.topic, partition: p.number, offset: offset, end: response.HighWatermark,
		aborted: make(map[int64][]int64), aborting: make(map[int64]bool), next: offset, leaderEpoch: engine.None,
	}
	for _, t := range response.AbortedTransactions {
		d.aborted[t.ProducerID] = append(d.aborted[t.ProducerID], t.FirstOffset)
	}

	return d
}

// decode decodes what care allows. An error is that of the first batch: what comes before another one is
// handed out first.
func (d *decoder) decode(records []byte, care engine.Care) error {
	batches, err := split(records, d.offset, d.end)
	if err != nil {
		return err
	}
	for i := range batches {
		b := &batches[i]
		err = engine.ErrDeadly
		if care != engine.DecodeNothing {
			err = d.addSafely(b)
		}
		switch {
		case err != nil && i == 0:
			return b.unreadable(err)
		case err != nil:
			return nil //nolint:nilerr // It comes first the next time.
		}
		d.next, d.leaderEpoch = b.last+1, b.leaderEpoch
		if care == engine.DecodeFirst || d.bytes > maxDecoded {
			break
		}
	}

	return nil
}

// addSafely is add, with a panic of a decompressor as an error: it would end the process, and every other
// that reads the batch. What the batch has added before an error is taken back.
func (d *decoder) addSafely(b *batch) (err error) {
	records, taken := len(d.records), d.bytes
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("%w: decoding it panics: %v", errMalformed, reason)
		}
		if err != nil {
			d.records, d.bytes = d.records[:records], taken
		}
	}()

	return d.add(b)
}

// add adds the batch's records unless they are markers or aborted.
func (d *decoder) add(b *batch) error {
	for producer, first := range d.aborted {
		if producer == b.producer && len(first) > 0 && first[0] <= b.last {
			d.aborting[producer], d.aborted[producer] = true, first[1:]
		}
	}
	switch {
	case b.attributes&controlBit != 0:
		abort, err := b.isAbortMarker()
		if abort {
			delete(d.aborting, b.producer)
		}

		return err
	case b.attributes&transactionalBit != 0 && d.aborting[b.producer]:
		return nil
	}
	plain := b.records()
	if codec := kgo.CompressionCodecType(b.attributes & compressionMask); codec != 0 {
		var err error
		if plain, err = d.decompressor.Decompress(plain, codec); err != nil {
			if errors.Is(err, kgo.ErrMaxDecompress) {
				err = errTooLarge
			}

			return fmt.Errorf("decompress: %w", err)
		}
		d.bytes += int64(len(plain))
	}

	return d.addRecords(b, plain)
}

// isAbortMarker reports whether a control batch ends a transaction by aborting it. The key of
// its record is a version and a type, of which 0 means abort.
func (b *batch) isAbortMarker() (bool, error) {
	if b.count == 0 {
		return false, nil // Compaction has removed it.
	}
	c := &cursor{data: b.records()}
	record := &cursor{data: c.varbytes()}
	record.skip(1)  // attributes
	record.varint() // timestamp
	record.varint() // offset
	key := record.varbytes()
	if c.bad || record.bad || len(key) < 4 {
		return false, fmt.Errorf("%w: a marker without a type", errMalformed)
	}

	return binary.BigEndian.Uint16(key[2:]) == 0, nil
}
