package fetch

import (
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	// maxZstdBytes is more than any batch has. What is allowed is checked before.
	maxZstdBytes = 1 << 31

	// maxZstdBlock is what a block of Zstandard can become at most.
	maxZstdBlock = 128 << 10

	// zstdSlack behind a block lets the decoder write in words.
	zstdSlack = 16
)

var zstdDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxZstdBytes), zstd.WithDecoderConcurrency(0))
})

func unzstd(records []byte, limit int64, a *account) ([]byte, error) {
	decoder, err := zstdDecoder()
	if err != nil {
		return nil, err
	}
	most, err := zstdBound(records, limit)
	if err != nil {
		return nil, err
	}
	s := getScratch()
	defer s.release()
	if most > limit {
		return nil, ErrTooLarge
	}
	if err := s.reserve(most+zstdSlack, a); err != nil {
		return nil, err
	}
	if s.buffer, err = decoder.DecodeAll(records, s.buffer); err != nil {
		return nil, err
	}

	return s.keep(a)
}

// zstdBound is what the blocks of all frames can become at most. What is sure to become more
// than the limit is refused here, and so is a frame that claims to become more than its blocks
// can, because the decoder would make room for it.
func zstdBound(records []byte, limit int64) (total int64, err error) {
	for rest := records; len(rest) > 0; {
		var header zstd.Header
		if err := header.Decode(rest); err != nil {
			return 0, err
		}
		rest = rest[header.HeaderSize:]
		if header.Skippable {
			if int64(header.SkippableSize) > int64(len(rest)) {
				return 0, io.ErrUnexpectedEOF
			}
			rest = rest[header.SkippableSize:]

			continue
		}
		least, blocks, size, err := zstdBlocks(rest)
		switch {
		case err != nil:
			return 0, err
		case least > limit:
			return 0, ErrTooLarge
		}
		rest = rest[size:]
		if header.HasCheckSum {
			rest = rest[min(4, len(rest)):]
		}
		if header.HasFCS {
			switch {
			case header.FrameContentSize > uint64(limit): //nolint:gosec // It is positive.
				return 0, ErrTooLarge
			case header.FrameContentSize > uint64(blocks): //nolint:gosec // It is positive.
				return 0, zstd.ErrFrameSizeMismatch
			}
			blocks = int64(header.FrameContentSize) //nolint:gosec // It is within the limit.
		}
		total += blocks
	}

	return total, nil
}

// zstdBlocks returns what a frame's blocks become at least and at most, and how long they are now.
func zstdBlocks(frame []byte) (least, most int64, size int, err error) {
	const (
		headerBytes = 3
		raw         = 0
		rle         = 1
	)
	for last := false; !last; {
		if len(frame)-size < headerBytes {
			return 0, 0, 0, io.ErrUnexpectedEOF
		}
		header := int(frame[size]) | int(frame[size+1])<<8 | int(frame[size+2])<<16
		size += headerBytes
		last = header&1 != 0
		length := header >> 3
		switch kind := header >> 1 & 3; kind {
		case raw:
			least += int64(length)
		case rle:
			least += int64(min(length, maxZstdBlock))
			length = 1
		default:
			most += maxZstdBlock
		}
		if size += length; size > len(frame) {
			return 0, 0, 0, io.ErrUnexpectedEOF
		}
	}

	return least, least + most, size, nil
}
