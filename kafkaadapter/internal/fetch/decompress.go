package fetch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/snappy"
	"github.com/segmentio/kafka-go/compress"
)

const (
	// maxBatchBytes bounds what a compressed batch may become.
	maxBatchBytes = 256 << 20

	// maxResponseSize is what the batches of a response may become before the rest of it is
	// left for the next.
	maxResponseSize = 32 << 20

	// snappyRatio is how many bytes one byte can become at most: 3 bytes copy 64.
	snappyRatio = 22
)

// decompress returns the records of a batch, for which it takes memory from the account. They do
// not share memory with what they were before, unless that was not compressed.
//
// Snappy and Zstandard are not left to kafka-go's codecs: those allocate whatever size the
// data claims to have. Here a claim is believed up to what so many bytes can become, so that a
// lie gets no more memory than the truth.
func decompress(compression compress.Compression, records []byte, a *account) (plain []byte, err error) {
	limit := a.limit()
	switch compression {
	case compress.None:
		return records, nil
	case compress.Snappy:
		plain, err = unsnappy(records, limit, a)
	case compress.Zstd:
		plain, err = unzstd(records, limit, a)
	case compress.Gzip, compress.Lz4:
		plain, err = readAll(compression.Codec(), records, limit, a)
	default:
		return nil, fmt.Errorf("%w: compression %d", ErrUnsupported, int(compression))
	}
	if errors.As(err, new(*shortError)) {
		return nil, err
	}
	switch {
	case errors.Is(err, ErrTooLarge):
		return nil, fmt.Errorf("decompressed it is %w: more than %d bytes", ErrTooLarge, limit)
	case err != nil:
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, compression, err)
	}

	return plain, nil
}

func readAll(codec compress.Codec, records []byte, limit int64, a *account) ([]byte, error) {
	reader := codec.NewReader(bytes.NewReader(records))
	defer reader.Close() //nolint:errcheck // All is read by then.
	s := getScratch()
	defer s.release()
	if err := s.reserve(min(2*int64(len(records)), limit), a); err != nil {
		return nil, err
	}
	if err := s.readFrom(reader, limit, a); err != nil {
		return nil, err
	}
	if int64(len(s.buffer)) > limit {
		return nil, ErrTooLarge
	}

	return s.keep(a)
}

// xerial begins data in the format of snappy-java's SnappyOutputStream, which Java clients
// send: after it and two version numbers come blocks, each after its length.
const (
	xerial            = "\x82SNAPPY\x00"
	xerialHeaderBytes = len(xerial) + 8
)

func unsnappy(records []byte, limit int64, a *account) ([]byte, error) {
	if len(records) < xerialHeaderBytes || string(records[:len(xerial)]) != xerial {
		size, err := snappySize(records, limit)
		if err == nil {
			err = a.grow(size)
		}
		if err != nil {
			return nil, err
		}

		return snappy.Decode(make([]byte, size), records)
	}
	var size int64
	for rest := records; len(rest) > 0; {
		block, behind, err := xerialBlock(rest)
		if err != nil {
			return nil, err
		}
		if rest = behind; block == nil {
			continue
		}
		n, err := snappySize(block, limit-size)
		if err != nil {
			return nil, err
		}
		size += n
	}
	if err := a.grow(size); err != nil {
		return nil, err
	}
	plain := make([]byte, size)
	filled := 0
	for rest := records; len(rest) > 0; {
		block, behind, err := xerialBlock(rest)
		if err != nil {
			return nil, err
		}
		if rest = behind; block == nil {
			continue
		}
		decoded, err := snappy.Decode(plain[filled:], block) // There is room, so it decodes in place.
		if err != nil {
			return nil, err
		}
		filled += len(decoded)
	}

	return plain, nil
}

// xerialBlock splits off the first block, or the header of a stream: then there is no block.
// Several streams can follow each other.
func xerialBlock(rest []byte) (block, behind []byte, err error) {
	if len(rest) >= xerialHeaderBytes && string(rest[:len(xerial)]) == xerial {
		return nil, rest[xerialHeaderBytes:], nil
	}
	const prefix = 4
	if len(rest) < prefix {
		return nil, nil, io.ErrUnexpectedEOF
	}
	size := int64(binary.BigEndian.Uint32(rest))
	if rest = rest[prefix:]; size > int64(len(rest)) {
		return nil, nil, io.ErrUnexpectedEOF
	}

	return rest[:size:size], rest[size:], nil
}

// snappySize is what a block claims to become, if that can be true and is within the limit.
func snappySize(block []byte, limit int64) (int64, error) {
	size, err := snappy.DecodedLen(block)
	switch {
	case err != nil:
		return 0, err
	case int64(size) > limit:
		return 0, ErrTooLarge
	case size > snappyRatio*len(block):
		return 0, snappy.ErrCorrupt
	}

	return int64(size), nil
}
