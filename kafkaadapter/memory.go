package kafkaadapter

import (
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/fetch"
)

// defaultMemory is the size of DefaultMemory.
const defaultMemory = 256 << 20

// DefaultMemory is the budget of all consumers of this process whose Config.Memory is nil: 256
// MiB.
var DefaultMemory = NewMemory(defaultMemory)

// Memory bounds what the records that are fetched and not processed yet take up, over all
// partitions of all consumers that share it: the answers of brokers as they come, what is
// decompressed, messages and headers by their size in Go. Memory is taken from the budget before it
// is allocated. A partition waits while others use the budget, and holds nothing meanwhile; the
// batch at its head may use all of it. A batch that needs more is treated by Config.OnUnreadable.
//
// Memory does not count what handlers and PostgreSQL's driver make of a record. Go's garbage
// collector lets a process take up more than is in use; set GOMEMLIMIT to bound that.
type Memory struct{ shared *fetch.Memory }

// NewMemory returns a budget of that many bytes, at least 1 MiB. A record needs about twice its
// size, three times if it is compressed with gzip or lz4.
func NewMemory(bytes int64) *Memory {
	const least = 1 << 20

	return &Memory{fetch.NewMemory(max(bytes, least))}
}

// Used returns how many bytes are taken now, and the highest number since the beginning.
func (m *Memory) Used() (now, peak int64) { return m.shared.Used() }
