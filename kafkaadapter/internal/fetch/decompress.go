package fetch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go/compress"
)

// maxBatchBytes bounds what a compressed batch may become.
const maxBatchBytes = 256 << 20

// decompress returns the records of a batch, which must not be more than limit bytes.
//
// Snappy and Zstandard are not left to kafka-go's codecs: those allocate whatever size the
// data claims to have.
func decompress(compression compress.Compression, records []byte, limit int64) (plain []byte, err error) {
	switch compression {
	case compress.None:
		return records, nil
	case compress.Snappy:
		plain, err = unsnappy(records, limit)
	case compress.Zstd:
		plain, err = unzstd(records)
	case compress.Gzip, compress.Lz4:
		plain, err = readAll(compression.Codec(), records, limit)
	default:
		return nil, fmt.Errorf("%w: compression %d", ErrUnsupported, int(compression))
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, compression, err)
	case int64(len(plain)) > limit:
		return nil, fmt.Errorf("decompressed it is %w: more than %d bytes", ErrTooLarge, limit)
	}

	return plain, nil
}

// readAll reads one byte more than the limit at most.
func readAll(codec compress.Codec, records []byte, limit int64) ([]byte, error) {
	reader := codec.NewReader(bytes.NewReader(records))
	defer reader.Close() //nolint:errcheck // All is read by then.
	var plain bytes.Buffer
	plain.Grow(2 * len(records))
	_, err := plain.ReadFrom(io.LimitReader(reader, limit+1))

	return plain.Bytes(), err
}

var zstdDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxBatchBytes), zstd.WithDecoderConcurrency(0))
})

func unzstd(records []byte) ([]byte, error) {
	decoder, err := zstdDecoder()
	if err != nil {
		return nil, err
	}

	return decoder.DecodeAll(records, nil) //nolint:wrapcheck // decompress wraps it.
}

// xerial begins data in the format of snappy-java's SnappyOutputStream, which Java clients
// send: after it and two version numbers come blocks, each after its length.
const (
	xerial            = "\x82SNAPPY\x00"
	xerialHeaderBytes = len(xerial) + 8
)

func unsnappy(records []byte, limit int64) ([]byte, error) {
	if len(records) < xerialHeaderBytes || string(records[:len(xerial)]) != xerial {
		return appendSnappy(nil, records, limit)
	}
	var plain []byte
	for rest := records[xerialHeaderBytes:]; len(rest) > 0; {
		if len(rest) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		size := int64(binary.BigEndian.Uint32(rest))
		if rest = rest[4:]; size > int64(len(rest)) {
			return nil, io.ErrUnexpectedEOF
		}
		var err error
		if plain, err = appendSnappy(plain, rest[:size], limit); err != nil {
			return nil, err
		}
		rest = rest[size:]
	}

	return plain, nil
}

// appendSnappy decompresses one block, unless what it claims to become is beyond the limit.
func appendSnappy(plain, block []byte, limit int64) ([]byte, error) {
	size, err := snappy.DecodedLen(block)
	if err != nil {
		return nil, err //nolint:wrapcheck // decompress wraps it.
	}
	if int64(size)+int64(len(plain)) > limit {
		return nil, ErrTooLarge
	}
	decoded, err := snappy.Decode(nil, block)
	if err != nil {
		return nil, err //nolint:wrapcheck // decompress wraps it.
	}
	if plain == nil {
		return decoded, nil
	}

	return append(plain, decoded...), nil
}
