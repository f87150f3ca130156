package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Kind is what a worker did.
type Kind string

// The kinds. The comments say what Offsets holds; without one it is the records concerned.
const (
	Started    Kind = "started"     // the process; nothing else is set
	Acquired   Kind = "acquired"    // a partition: where it goes on. A reign begins.
	GaveUp     Kind = "gave up"     // the partition: nothing; Note says why, if there is a reason
	Began      Kind = "began"       // to process records in a transaction
	Handled    Kind = "handled"     // a record: its effect is written, and not committed yet
	Committing Kind = "committing"  // a transaction of records that Began, or a part of them: nothing. Its COMMIT is sent next
	Landed     Kind = "landed"      // that COMMIT: nothing. It was answered, and the answer was that all is well
	Committed  Kind = "committed"   // records that Began: those that are done with
	RolledBack Kind = "rolled back" // records that Began: those that are still to be done
	Unknown    Kind = "unknown"     // the same, where the outcome of the COMMIT could not be found out
	Resolved   Kind = "resolved"    // what a COMMIT without an answer did: the first record
	OffsetTold Kind = "offset told" // to Kafka, which accepted it: the offset. At is when it was sent.
	Rewound    Kind = "rewound"     // the database went back: the checkpoint
	Stored     Kind = "stored"      // as a dead letter
	Skipped    Kind = "skipped"     // by an operator or a policy: where it goes on

	Sought   Kind = "sought"    // the lease of Event, in whose search an attempt may begin. Here and below Try is its number
	Charging Kind = "charging"  // an attempt has begun: it is about to ask the provider
	Charged  Kind = "charged"   // the provider has answered: the attempt is about to be completed
	Settled  Kind = "completed" // the event, by this attempt
)

// Entry is a line of a worker's history.
type Entry struct {
	Partition

	At      time.Time `json:"at"`
	Worker  string    `json:"worker"`
	Kind    Kind      `json:"kind"`
	Reign   string    `json:"reign,omitempty"` // since the worker acquired the partition
	Try     int64     `json:"try,omitempty"`   // of records that Began, and of how that ended; counted by the worker
	Offsets []int64   `json:"offsets,omitempty"`
	Event   string    `json:"event,omitempty"` // of a lease
	Run     string    `json:"run,omitempty"`   // of the handler that wrote an effect
	Note    string    `json:"note,omitempty"`
}

// Writer appends to a worker's history. Each line is written at once: what was written outlives a kill.
type Writer struct {
	began  time.Time
	worker string

	mu   sync.Mutex
	file *os.File
}

// NewWriter begins the history of a worker, or goes on with it.
func NewWriter(folder, worker string) (*Writer, error) {
	const mode = 0o600
	file, err := os.OpenFile(filepath.Join(folder, worker+".history"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, mode)
	if err != nil {
		return nil, fmt.Errorf("begin a history: %w", err)
	}
	w := &Writer{worker: worker, file: file, began: time.Now()}

	return w, w.Write(Entry{Kind: Started})
}

// Write writes an entry, with the worker's name and, unless it has one, the time.
func (w *Writer) Write(e Entry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.Worker = w.worker
	if e.At.IsZero() {
		e.At = w.Now()
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = w.file.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write a history: %w", err)
	}

	return nil
}

// Now is the time by a clock that nobody steps while the worker lives.
func (w *Writer) Now() time.Time { return w.began.Add(time.Since(w.began)) }

// Close ends it.
func (w *Writer) Close() error { return w.file.Close() }

// Read reads all histories of a folder. The last line of one may be cut.
func Read(folder string) ([]Entry, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.history"))
	if err != nil {
		return nil, fmt.Errorf("find the histories: %w", err)
	}
	var all []Entry
	for _, name := range files {
		entries, err := readFile(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, entries...)
	}

	return all, nil
}

func readFile(name string) (entries []Entry, err error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // It is only read.
	decoder := json.NewDecoder(file)
	for {
		var e Entry
		err := decoder.Decode(&e)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
}
