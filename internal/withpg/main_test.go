package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

// envProgram makes this test binary the program itself.
const envProgram = "IDEM_TEST_WITHPG"

func TestMain(m *testing.M) {
	if os.Getenv(envProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// withpg returns the program, about to run a shell script.
func withpg(t *testing.T, url, script string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "sh", "-c", script)
	cmd.Env = append(os.Environ(), envProgram+"=1", envURL+"="+url)
	cmd.Stderr = os.Stderr

	return cmd
}

func TestCommandFindsServerAndItsStatusIsKept(t *testing.T) {
	t.Parallel()
	cmd := withpg(t, "", `echo "$DATABASE_URL"; read -r _; exit 7`)
	stdin, stdout := pipes(t, cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	url := readLine(t, stdout)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}

	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != 7 {
		t.Errorf("status %d, want 7", status)
	}
	if _, err := pgx.Connect(t.Context(), url); err == nil {
		t.Error("the server outlived the command")
	}
}

func TestSignalIsPassedOn(t *testing.T) {
	t.Parallel()
	cmd := withpg(t, "", `trap "echo caught; exit 3" TERM; echo "$IDEM_TEST_DATABASE_URL"; read -r _`)
	_, stdout := pipes(t, cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	url := readLine(t, stdout)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if line := readLine(t, stdout); line != "caught" {
		t.Errorf("the command said %q", line)
	}
	_ = cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != 3 {
		t.Errorf("status %d, want 3", status)
	}
	if _, err := pgx.Connect(t.Context(), url); err == nil {
		t.Error("the server outlived the command")
	}
}

func TestGivenServerIsUsed(t *testing.T) {
	t.Parallel()
	cmd := withpg(t, "postgres://given/", `test "$IDEM_TEST_DATABASE_URL" = "$DATABASE_URL" && echo "$DATABASE_URL"`)
	cmd.Env = append(cmd.Env, envServiceURL+"=postgres://production/")
	output, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(output)); got != "postgres://given/" {
		t.Errorf("the command found %q", got)
	}
}

func TestCommandEndedBySignal(t *testing.T) {
	t.Parallel()
	cmd := withpg(t, "postgres://given/", `kill -KILL $$`)
	_ = cmd.Run()
	if status := cmd.ProcessState.ExitCode(); status != statusSignal+int(syscall.SIGKILL) {
		t.Errorf("status %d, want %d", status, statusSignal+int(syscall.SIGKILL))
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, line := range [][]string{nil, {"--help"}, {"-h", "go"}} {
		if status, err := run(t.Context(), line); status != statusUsage || err == nil || !strings.Contains(err.Error(), "usage: withpg COMMAND") {
			t.Errorf("run(%q) = %d, %v", line, status, err)
		}
	}
}

func pipes(t *testing.T, cmd *exec.Cmd) (io.WriteCloser, *bufio.Reader) {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}

	return stdin, bufio.NewReader(stdout)
}

func readLine(t *testing.T, from *bufio.Reader) string {
	t.Helper()
	line, err := from.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}

	return strings.TrimSpace(line)
}
