package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go/compress"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

const (
	exits   = "exits"   // the value of a record whose handler ends the process
	freezes = "freezes" // the value of one whose handler stops it, as SIGSTOP does
)

// jobs are the ways in which a worker processes records.
var jobs = map[string]job{"single": {OwnTransactions: true}, "shared": {}, "batches": {Batches: true}, "lanes": {Lanes: 4}}

// deadly is the handler of workers: record, unless the record is one of those above.
func deadly(ctx context.Context, tx pgx.Tx, m consume.Message) error {
	if err := record(ctx, tx, m); err != nil {
		return err
	}
	switch string(m.Value) {
	case exits:
		os.Exit(7)
	case freezes:
		return syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	}

	return nil
}

// A record that ends every process that begins with it becomes a dead letter; those before and
// behind it take effect once.
func TestRecordThatKillsProcesses(t *testing.T) {
	t.Parallel()
	for name, j := range jobs {
		for name, known := range map[string]int{name: 0, name + " behind duplicates": 7} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				testRecordThatKillsProcesses(t, j, known)
			})
		}
	}
}

func testRecordThatKillsProcesses(t *testing.T, j job, known int) {
	t.Helper()
	db := pgtest.NewDB(t)
	j.DSN = db.Service
	s := setupIn(t, broker.InProcess(t), 1, db.Pool(t))
	guard, err := idem.New(s.pool, idem.Config{Consumer: "test"})
	if err != nil {
		t.Fatal(err)
	}
	records := events(0, 20, 1)
	for i := range known {
		if _, err := guard.MarkProcessed(t.Context(), strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	records[7].Value = []byte(exits)
	s.broker.Write(t, s.topic, records...)
	starts := s.startUntilStored(t, j, 20)
	// The first was killed in the middle; then five began with it; the next one knew. With batches
	// or lanes the first may not have committed those before it: the second finds out which record
	// it is.
	want := 7
	if known > 0 && j.OwnTransactions {
		want = 6 // Duplicates are no reason not to begin with it.
	}
	// With lanes an owner can be killed again before it is suspected, if the first one has moved the
	// group's offset on; with shared transactions, depending on how many records share the first.
	exact := j.OwnTransactions || j.Batches
	if starts < want-1 || starts > want+2 || exact && starts != want {
		t.Errorf("%d processes were started, want %d", starts, want)
	}
	if got := s.letters(t); !slices.Equal(got, []string{"7 open 0"}) {
		t.Errorf("letters %q", got)
	}
	if j.Lanes > 1 {
		s.verifyOnce(t, 19-known)
	} else {
		s.verify(t, 19-known)
	}
}

// startUntilStored starts workers, one after the other dies, until one has stored a dead letter and
// committed n records. It returns how many there were.
func (s *bench) startUntilStored(t *testing.T, j job, n int64) (starts int) {
	t.Helper()
	for len(s.letters(t)) == 0 {
		if starts++; starts > 10 {
			t.Fatal("ten processes were killed by one record")
		}
		w := s.startJob(t, j)
		ended := make(chan error, 1)
		go func() { ended <- w.command.Wait() }()
		until(t, "the worker to die or to store a dead letter", func() bool {
			select {
			case err := <-ended:
				ended <- err

				return true
			default:
				return len(s.letters(t)) > 0
			}
		})
		if len(s.letters(t)) > 0 {
			s.awaitCommitted(t, n)
			if err := errors.Join(w.input.Close(), <-ended); err != nil {
				t.Error(err)
			}
		}
	}

	return starts
}

// deadlyCodec is gzip, but ends the process at what holds the value exits: a bug in a decompressor, or
// one that takes more memory than there is.
type deadlyCodec struct{ compress.Codec }

func (c deadlyCodec) NewReader(r io.Reader) io.ReadCloser {
	plain := c.Codec.NewReader(r)
	content, err := io.ReadAll(plain)
	if err != nil {
		return plain
	}
	if bytes.Contains(content, []byte(exits)) {
		os.Exit(7)
	}

	return io.NopCloser(bytes.NewReader(content))
}

// A batch that ends every process that decodes it becomes a dead letter, whole and by its header
// alone; the batches before and behind it take effect, also if they come with it.
func TestBatchThatKillsProcessesThatDecodeIt(t *testing.T) {
	t.Parallel()
	for name, j := range jobs {
		for name, before := range map[string]int{name: 10, name + " first": 0} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				db := pgtest.NewDB(t)
				j := j
				j.DSN, j.DeadlyCodec = db.Service, true
				s := setupIn(t, broker.InProcess(t), 1, db.Pool(t))
				records := events(0, 20, 1)
				records[before+2].Value = []byte(exits)
				if before > 0 {
					s.broker.Write(t, s.topic, records[:before]...)
				}
				s.broker.Produce(t, s.topic, records[before:before+5], kgo.ProducerBatchCompression(kgo.GzipCompression()))
				s.broker.Write(t, s.topic, records[before+5:]...)
				starts := s.startUntilStored(t, j, 20)
				want := 6 // Five began with it; the next one knew.
				if before > 0 {
					want += 2 // The first had begun with what comes before, and so had the second, but with nothing else.
				}
				if starts != want {
					t.Errorf("%d processes were started, want %d", starts, want)
				}
				letters := s.letterErrors(t)
				if len(letters) != 1 || !strings.Contains(letters[0], fmt.Sprintf("the batch of the offsets %d to %d cannot be read", before, before+4)) ||
					!strings.Contains(letters[0], "began to decode it, 5 times") {
					t.Errorf("letters %q", letters)
				}
				s.verifyOnce(t, 15)
			})
		}
	}
}

// A process that is frozen in a transaction past its session, and thaws when another one has
// processed its records: its own transaction is refused.
func TestFrozenProcessIsFenced(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		for _, lanes := range []int{1, 2} {
			t.Run(strconv.Itoa(lanes)+" lanes", func(t *testing.T) {
				t.Parallel()
				db := pgtest.NewDB(t)
				s := setupIn(t, b, 1, db.Pool(t))
				records := events(0, 20, 1)
				records[7].Value = []byte(freezes)
				b.Write(t, s.topic, records...)
				frozen := s.startJob(t, job{DSN: db.Service, Lanes: lanes})
				until(t, "the process to freeze", func() bool { return stopped(t, frozen.command.Process.Pid) })

				other := s.start(t, func(c *settings) { c.Lanes.Count = lanes })
				s.awaitCommitted(t, 20)
				if err := frozen.command.Process.Signal(syscall.SIGCONT); err != nil {
					t.Fatal(err)
				}
				other.leave(t)
				b.Write(t, s.topic, events(20, 10, 1)...)
				s.awaitCommitted(t, 30) // By the one that was frozen.
				frozen.dismiss(t)
				s.verifyOnce(t, 30)
				if lanes == 1 {
					s.verify(t, 30)
				}
			})
		}
	})
}

// stopped reports whether a process is stopped by a signal.
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	state, err := exec.CommandContext(ctx, "ps", "-o", "state=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		t.Fatal(err)
	}

	return strings.HasPrefix(strings.TrimSpace(string(state)), "T")
}
