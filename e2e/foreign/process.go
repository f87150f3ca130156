package foreign

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/logbuffer"
)

// process is a member in a process of its own. It leaves when its input ends, also if the test is killed.
type process struct {
	command *exec.Cmd
	input   io.Closer
	ended   chan struct{} // closed when it has ended
	err     error         // how it ended; set before that
	said    logbuffer.Buffer
}

func startProcess(t testing.TB, config Config, assignors string, command func(ctx context.Context, args ...string) *exec.Cmd) Member { //nolint:ireturn // It is one of several kinds.
	t.Helper()
	p := &process{ended: make(chan struct{})}
	p.command = command(context.WithoutCancel(t.Context()), strings.Join(config.Brokers, ","), config.Group, config.Topic,
		strconv.FormatInt(config.SessionTimeout.Milliseconds(), 10), strconv.FormatInt(config.HeartbeatInterval.Milliseconds(), 10), assignors, config.InstanceID)
	input, err := p.command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.input, p.command.Stderr = input, &p.said
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read(output, config.Consumed)
	t.Cleanup(func() {
		_ = input.Close() // Leave may have done so.
		p.await(t)
	})

	return p
}

// read reports the records that were consumed; all else are complaints.
func (p *process) read(output io.Reader, consumed func(partition int, offset int64)) {
	defer close(p.ended)
	defer func() { p.err = p.command.Wait() }()
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		var (
			partition int
			offset    int64
		)
		if n, err := fmt.Sscanf(lines.Text(), "%d %d", &partition, &offset); err == nil && n == 2 && lines.Text() == fmt.Sprint(partition, offset) {
			consumed(partition, offset)
		} else {
			_, _ = fmt.Fprintln(&p.said, lines.Text())
		}
	}
}

// Leave implements Member.
func (p *process) Leave(t testing.TB) {
	t.Helper()
	if err := p.input.Close(); err != nil {
		t.Error(err)
	}
	p.await(t)
	if p.err != nil {
		t.Errorf("a member did not leave in order: %v\n%s", p.err, p.Said())
	}
}

// await waits for the process to end, and kills it if it does not.
func (p *process) await(t testing.TB) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(leaveTimeout):
		t.Errorf("a member does not leave\n%s", p.Said())
		_ = p.command.Process.Kill()
		<-p.ended
	}
}

// Ended implements Member.
func (p *process) Ended() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Said implements Member.
func (p *process) Said() string { return p.said.String() }
