package franzadapter

import "sync"

// budget bounds the bytes of records that are fetched and not processed yet.
type budget struct {
	limit int64
	freed func() // called when some are given back

	mu   sync.Mutex
	used int64
}

// reserve takes up to n bytes for an answer, and returns how many, 0 if there are none. An answer ahead
// of what is processed leaves half to others, who would else wait for slow partitions.
func (b *budget) reserve(n int64, ahead bool) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	limit := b.limit
	if ahead {
		limit /= 2
	}
	n = max(0, min(n, limit-b.used))
	b.used += n

	return n
}

// isScarce reports whether nothing is left for answers ahead of what is processed.
func (b *budget) isScarce() bool {
	b.mu.Lock()
	defer b.mu.Unlock()

	return b.used >= b.limit/2
}

// add changes what is taken by what it turned out to be, more or less.
func (b *budget) add(n int64) {
	b.mu.Lock()
	b.used += n
	b.mu.Unlock()
	if n < 0 {
		b.freed()
	}
}
