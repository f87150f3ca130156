// Package daemon runs server programs that must not outlive this process.
//
// A [Home] is a temporary folder with the processes that live in it. A watchdog, a shell
// that waits for the end of a pipe held by this process, stops them and removes the folder
// once this process is gone, even if it was killed by SIGKILL. It needs nothing but POSIX,
// so it works alike on Linux and macOS.
//
// When this process runs as root, everything in a Home belongs to and runs as an
// unprivileged user: PostgreSQL and PgBouncer refuse to run as root, others should not.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// watch waits for the end of its input, which comes when the last holder of the pipe's other
// end is gone. It ignores the signals of a terminal: a ^C must not end it before its parent.
// Removing can fail while a server still writes on its way out.
const watch = `trap "" HUP INT QUIT TERM
read -r _
for file in "$1"/*.pid; do
	test -f "$file" && kill $(cat "$file")
done
for _ in 1 2 3 4 5 6 7 8 9 10; do
	rm -rf "$1" && exit
	sleep 1
done`

// Home is a temporary folder and the processes that were started in it.
type Home struct {
	// LastSignal ends a process at once, when this process is gone or the start has failed.
	// Change it before Start for programs that do not end at NewHome's SIGQUIT, PostgreSQL's
	// immediate shutdown.
	LastSignal syscall.Signal

	dir        string
	credential *syscall.Credential // nil: this process's own
	lifeline   *os.File            // the watchdog acts when this is closed
	watchdog   *exec.Cmd
}

// NewHome creates a folder in parent, or in the system's folder for temporary files if that
// is empty; prefix begins its name. Close it when done.
func NewHome(parent, prefix string) (*Home, error) {
	credential, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return nil, fmt.Errorf("create a temporary folder: %w", err)
	}

	h := &Home{LastSignal: syscall.SIGQUIT, dir: dir, credential: credential}
	if err := h.chown(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := h.startWatchdog(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}

	return h, nil
}

// Path is the path of a file in the folder.
func (h *Home) Path(name string) string { return filepath.Join(h.dir, name) }

// WriteFile writes a file that only the processes of this Home can read.
func (h *Home) WriteFile(name string, content []byte) error {
	path := h.Path(name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return fmt.Errorf("write a file for the server: %w", err)
	}

	return h.chown(path)
}

// Run runs a program in the folder to its end. The error of one that fails holds its output.
func (h *Home) Run(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	h.confine(cmd)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s%s", program, err, tail(output), h.hint(err))
	}

	return nil
}

// Close removes the folder. The processes in it must have been stopped.
func (h *Home) Close() error {
	err := os.RemoveAll(h.dir)
	if err != nil {
		err = fmt.Errorf("remove the temporary folder: %w", err)
	}

	// The watchdog finds nothing left to do, and its exit status says nothing.
	err = errors.Join(err, h.lifeline.Close())
	_ = h.watchdog.Wait()

	return err
}

func (h *Home) startWatchdog() error {
	// Both ends are close-on-exec: no other child holds the write end open.
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("create the watchdog's pipe: %w", err)
	}
	defer read.Close() //nolint:errcheck // The watchdog has its own copy.

	h.lifeline = write
	h.watchdog = exec.Command("/bin/sh", "-c", watch, "watchdog", h.dir) //nolint:noctx // Close ends it.
	h.confine(h.watchdog)
	h.watchdog.Dir = "/" // The folder that it removes must not be its own.
	h.watchdog.Stdin = read
	if err := h.watchdog.Start(); err != nil {
		return errors.Join(fmt.Errorf("start the watchdog: %w", err), write.Close())
	}

	return nil
}

// confine makes a command run in the folder, as the unprivileged user, out of reach of the
// terminal's ^C, and without the environment's PG* variables, which would redirect it.
func (h *Home) confine(cmd *exec.Cmd) {
	cmd.Dir = h.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: h.credential}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	if libraries, set := os.LookupEnv("LD_LIBRARY_PATH"); set {
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+libraries)
	}
}

func (h *Home) chown(path string) error {
	if h.credential == nil {
		return nil
	}
	if err := os.Chown(path, int(h.credential.Uid), int(h.credential.Gid)); err != nil {
		return fmt.Errorf("hand a file to the unprivileged user: %w", err)
	}

	return nil
}

// hint explains the failure that only root meets.
func (h *Home) hint(err error) string {
	if h.credential == nil || !errors.Is(err, os.ErrPermission) {
		return ""
	}

	return fmt.Sprintf("\nThe program is run as user id %d, because this process is root: that user needs access to it and to %s.",
		h.credential.Uid, h.dir)
}
