package cli

import (
	"bufio"
	"context"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal: the program has one end of it, the test the other.
type terminal struct {
	program *os.File
	user    *os.File
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = user.Close() })
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })

	return &terminal{program: program, user: user}
}

// run runs the program at the terminal, whose user has typed answers already, and returns what
// the user then sees.
func (term *terminal) run(ctx context.Context, t *testing.T, b *bundle, typed string, args ...string) (result, string) {
	t.Helper()
	if _, err := io.WriteString(term.user, typed); err != nil {
		t.Fatal(err)
	}
	var stdout strings.Builder
	status := Program{
		Args: args, Stdin: term.program, Stdout: &stdout, Stderr: term.program,
		LookupEnv: lookup(b.env),
	}.Run(ctx)

	const end = "(end)"
	if _, err := io.WriteString(term.program, end+"\n"); err != nil {
		t.Fatal(err)
	}
	var screen strings.Builder
	for lines := bufio.NewScanner(term.user); lines.Scan(); {
		before, ended := strings.CutSuffix(lines.Text(), end)
		screen.WriteString(before + "\n")
		if ended {
			break
		}
	}

	return result{status: status, stdout: stdout.String(), stderr: screen.String()}, screen.String()
}

func TestConfirmationAtTheTerminal(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	for typed, done := range map[string]bool{"y\n": true, "Yes\n": true, "n\n": false, "\n": false, "yess\n": false, "\x04": false} {
		b.ok(t, "mark", "1", "-c", "orders")
		r, screen := newTerminal(t).run(t.Context(), t, b, typed, "forget", "1", "-c", "orders")
		contains(t, screen, "1 event will be processed again by orders", "Go on? [y/N]")
		if left := b.one(t, `SELECT count(*) FROM idem.processed_events`); left == 1 == done {
			t.Errorf("%q: %d events are left", typed, left)
		}
		if done {
			r.want(t, 0)
		} else {
			r.want(t, exitUnconfirmed, "nothing was changed")
		}
	}

	// Ids from the terminal leave no way to answer.
	r, _ := newTerminal(t).run(t.Context(), t, b, "1\n\x04", "forget", "-", "-c", "orders")
	r.want(t, exitUnconfirmed, "--yes")
}

func TestInterruptedQuestionChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	b.ok(t, "mark", "1", "-c", "orders")
	term := newTerminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked := bufio.NewReader(term.user)
	seen := make(chan string, 1)
	go func() {
		text, _ := asked.ReadString('?')
		seen <- text
		cancel()
	}()
	status := Program{
		Args: []string{"forget", "1", "-c", "orders"}, Stdin: term.program, Stdout: io.Discard, Stderr: term.program,
		LookupEnv: lookup(b.env),
	}.Run(ctx)
	contains(t, <-seen, "processed again")
	if status != exitInterrupted || b.one(t, `SELECT count(*) FROM idem.processed_events`) != 1 {
		t.Errorf("status %d", status)
	}
	if _, err := io.WriteString(term.user, "\n"); err != nil { // Ends the reading that cannot be stopped.
		t.Fatal(err)
	}
}

// While the command asks, the dead letter fails anew: nobody has decided about that.
func TestDeadLetterThatChangesBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	b := setupDeadLetters(t)
	letter{}.store(t, b)
	term := newTerminal(t)
	var stdout, stderr strings.Builder
	status := make(chan int, 1)
	go func() {
		status <- Program{
			Args: []string{"dlq", "discard", nth(1)}, Stdin: term.program, Stdout: &stdout, Stderr: io.MultiWriter(&stderr, term.program), LookupEnv: lookup(b.env),
		}.Run(t.Context())
	}()
	if _, err := bufio.NewReader(term.user).ReadString('?'); err != nil {
		t.Fatal(err)
	}
	b.exec(t, `UPDATE idem.dead_letters SET failed_at = clock_timestamp()`)
	if _, err := io.WriteString(term.user, "y\n"); err != nil {
		t.Fatal(err)
	}
	r := result{status: <-status, stdout: stdout.String(), stderr: stderr.String()}
	r.want(t, exitNotFound, "was changed meanwhile; look at it again")
	contains(t, r.stdout, "Dead letter "+nth(1)+" is left alone: it was changed meanwhile, it is open.", "No dead letter was changed.")
	if got := b.states(t); got != "open" {
		t.Error(got)
	}
}

func TestProgressAtTheTerminal(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "1m")
	b.predecessor(t, "public.old", 6000)
	var ids strings.Builder
	for i := range 3000 {
		ids.WriteString("id " + strconv.Itoa(i) + "\n")
	}
	file := t.TempDir() + "/ids"
	if err := os.WriteFile(file, []byte(ids.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	b.exec(t, `UPDATE idem.consumers SET retention = '1000 days'`)
	for _, c := range []struct{ title, line string }{
		{"marking", "mark -c orders -f " + file},
		{"forgetting", "forget -c orders -y -f " + file},
		{"importing", "import -c orders --from-table public.old"},
		{"cleaning up", "cleanup"},
	} {
		r, screen := newTerminal(t).run(t.Context(), t, b, "", strings.Fields(c.line)...)
		r.want(t, 0, c.title)
		if strings.Contains(r.stdout, c.title) || r.stdout == "" {
			t.Errorf("%s: stdout: %q", c.line, r.stdout)
		}
		// The bar is gone in the end: the last line is empty.
		shown := strings.TrimRight(screen, "\r\n")
		if rest := shown[strings.LastIndex(shown, "\r")+1:]; strings.TrimSpace(rest) != "" {
			t.Errorf("%s: the last line is %q", c.line, rest)
		}
	}
}
