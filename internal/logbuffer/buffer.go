// Package logbuffer keeps what several goroutines log, for tests. Only tests import it.
package logbuffer

import (
	"strings"
	"sync"
)

// Buffer keeps what is written to it. It can be read meanwhile. The zero Buffer is empty.
type Buffer struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (b *Buffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()

	return b.text.Write(text)
}

// String returns all of it.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()

	return b.text.String()
}

// Having returns the lines that contain a text.
func (b *Buffer) Having(text string) (found []string) {
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}

	return found
}
