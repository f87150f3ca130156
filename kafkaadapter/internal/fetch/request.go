// Package fetch reads records from the partitions of Kafka topics. Partitions ask
// one by one (Fetcher.Fetch); those with the same leader share requests and two connections.
//
// It decodes responses itself, because kafka-go's readers deliver the records of aborted
// transactions and stop at holes that compaction has made. The rules are those of Kafka's own
// consumer (org.apache.kafka.clients.consumer.internals.CompletedFetch) and its message
// format (https://kafka.apache.org/documentation/#messageformat).
package fetch

import (
	"errors"
	"fmt"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/engine"
)

const (
	// oldestVersion is the first version of the request that knows transactions (Kafka 0.11), newestVersion the last
	// that names topics as read expects it and kafka-go can write.
	oldestVersion, newestVersion = 4, 11

	// netTimeout is how long a fetch may take beyond MaxWait.
	netTimeout = 10 * time.Second

	readCommitted = 1
)

var (
	// ErrMalformed is returned when a response makes no sense or a checksum is wrong.
	ErrMalformed = errors.New("malformed fetch response")

	// ErrUnsupported is returned when a broker or a record batch is too old.
	ErrUnsupported = errors.New("unsupported")

	// ErrTooLarge is returned when a response or a decompressed batch is larger than any that is read.
	ErrTooLarge = errors.New("too large")

	// errBeyondEnd is that of a batch beyond the end of the log. The log may have grown while
	// the broker has made its answer, so asking again tells.
	errBeyondEnd = fmt.Errorf("%w: beyond the end of the log", ErrMalformed)
)

// Request asks for the records of one partition, from Offset on.
type Request struct {
	Topic     string
	Partition int
	Offset    int64
	// MaxBytes is how much the broker sends, but never less than one whole batch.
	MaxBytes int
	// MaxWait is how long the broker waits if there is nothing.
	MaxWait time.Duration
	// Memory is shared by all requests of a process. Nil: there is no budget.
	Memory *Memory
	// After is closed when the response before this one is released, the latest of the same
	// partition; nil if there is none. Until then this request is one ahead, which leaves half of
	// the memory to others.
	After <-chan struct{}
	// Before is called before records are decoded, and says how many of them may be; nil: all.
	Before func() (engine.Care, error)
}

// ahead reports whether records of the partition are still processed.
func (r *Request) ahead() bool {
	select {
	case <-r.After:
		return false
	default:
		return r.After != nil
	}
}
