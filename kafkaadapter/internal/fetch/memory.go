package fetch

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"github.com/nova-events/idempotent-consumer/consume"
)

// Memory is a budget of bytes that all fetches which are given it share. What a fetch holds is
// counted by what it takes up in Go: the answer as it came, what is decompressed, the messages
// and their headers. All of it is taken before it is allocated.
//
// Nobody waits while holding anything: a fetch takes without waiting, and if there is not
// enough, it lets go of all it has, waits for as much as it needs at once, and fetches again.
// Whoever holds memory needs no more of it to let go. So all who wait are served, in their order,
// and one that nobody competes with gets all there is.
//
// A partition whose records are processed slowly, or hang, keeps what it has. So that it does not
// keep more than that, a fetch ahead of what is processed gets nothing once half is taken.
type Memory struct {
	total int64

	mu      sync.Mutex
	used    int64
	peak    int64
	waiting []*waiter
}

type waiter struct {
	bytes   int64
	granted chan struct{}
}

// NewMemory returns a budget of so many bytes.
func NewMemory(total int64) *Memory { return &Memory{total: total} }

// Used returns how much is taken now, and how much was at most.
func (m *Memory) Used() (now, peak int64) {
	m.mu.Lock()
	defer m.mu.Unlock()

	return m.used, m.peak
}

// take takes n bytes if nobody waits and no more than most are taken then.
func (m *Memory) take(n, most int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting) > 0 || n > most-m.used {
		return false
	}
	m.add(n)

	return true
}

func (m *Memory) add(n int64) {
	m.used += n
	m.peak = max(m.peak, m.used)
}

// wait takes n bytes, which are not more than there are in all, as soon as they are there and
// those who came before are served. The caller must hold nothing.
func (m *Memory) wait(ctx context.Context, n int64) error {
	w := &waiter{bytes: n, granted: make(chan struct{})}
	m.mu.Lock()
	m.waiting = append(m.waiting, w)
	m.serve()
	m.mu.Unlock()
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.Index(m.waiting, w); i >= 0 {
		m.waiting = slices.Delete(m.waiting, i, i+1)
	} else {
		m.used -= n
	}
	m.serve()

	return ctx.Err()
}

// give gives n bytes back.
func (m *Memory) give(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used -= n
	m.serve()
}

// serve grants what is there to those who wait.
func (m *Memory) serve() {
	for len(m.waiting) > 0 && m.waiting[0].bytes <= m.total-m.used {
		m.add(m.waiting[0].bytes)
		close(m.waiting[0].granted)
		m.waiting = m.waiting[1:]
	}
}

// shortError says that a fetch needs more than is there at the moment.
type shortError struct{ bytes int64 }

func (e *shortError) Error() string {
	return fmt.Sprintf("%d bytes are needed, which others have taken", e.bytes)
}

// account is what one fetch has taken. It may be released while the fetch goes on, because
// nobody waits for its answer any more; then the fetch gets no more. A nil *account is that of a
// fetch without a budget.
type account struct {
	memory *Memory
	most   int64         // that may be taken, by others too, when this one takes more
	done   chan struct{} // closed by release

	mu       sync.Mutex
	held     int64 // in use
	reserved int64 // taken before the fetch and not in use yet
	released bool
}

// newAccount returns one that has taken so many bytes already. It may be that of a fetch ahead of
// what is processed.
func newAccount(m *Memory, reserved int64, ahead bool) *account {
	if m == nil {
		return nil
	}
	most := m.total
	if ahead {
		most /= 2
	}

	return &account{memory: m, most: most, reserved: reserved, done: make(chan struct{})}
}

// grow takes n bytes. It fails with a *shortError if others have them, and with ErrTooLarge if
// the fetch would hold more than there is in all.
func (a *account) grow(n int64) error {
	if a == nil || n <= 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	need := a.held + n
	switch {
	case need > a.memory.total:
		return fmt.Errorf("%w: more than the memory budget of %d bytes is needed", ErrTooLarge, a.memory.total)
	case a.released:
		return &shortError{need}
	}
	if more := n - a.reserved; more > 0 && !a.memory.take(more, a.most) {
		return &shortError{need}
	}
	a.reserved = max(0, a.reserved-n)
	a.held = need

	return nil
}

// shrink gives n bytes back that are not in use any more.
func (a *account) shrink(n int64) {
	if a == nil || n <= 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held -= n
	if !a.released {
		a.memory.give(n)
	}
}

// now returns what is in use.
func (a *account) now() int64 {
	if a == nil {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()

	return a.held
}

// settle gives back what was reserved and is not needed.
func (a *account) settle() {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.released {
		a.memory.give(a.reserved)
	}
	a.reserved = 0
}

// release gives all back. It may be called more than once.
func (a *account) release() {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.released {
		a.released = true
		close(a.done)
		a.memory.give(a.held + a.reserved)
	}
}

// limit is what one batch may become.
func (a *account) limit() int64 {
	if a == nil {
		return maxBatchBytes
	}

	return min(a.memory.total, 1<<31-1)
}

// What values take up besides the bytes that they refer to.
const (
	messageBytes = int64(unsafe.Sizeof(consume.Record{}))
	headerSize   = int64(unsafe.Sizeof(consume.RecordHeader{}))

	// nameStep is in what steps the names of headers are counted, which are strings of their
	// own; nameExtra is what Go rounds them up by at most, if they are short.
	nameStep  = 64 << 10
	nameExtra = 16
)
