package cli

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// confirm asks whether to go on, unless --yes says so. The warning says what would be lost.
func (a *app) confirm(ctx context.Context, warning string) error {
	if a.settings.yes {
		return nil
	}
	if !isTerminal(a.Stdin) {
		return unconfirmed(warning)
	}
	_, _ = fmt.Fprintf(a.Stderr, "%s\nGo on? [y/N] ", escapeLines(warning))

	answers := make(chan string, 1)
	go func() { // It ends with the line, or with the process: reading a terminal cannot be stopped.
		line, _ := bufio.NewReader(a.Stdin).ReadString('\n')
		answers <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case answer := <-answers:
		if answer == "y" || answer == "yes" {
			return nil
		}

		return fail(exitUnconfirmed, "nothing was changed")
	case <-ctx.Done():
		_, _ = fmt.Fprintln(a.Stderr)

		return fmt.Errorf("nothing was changed: %w", context.Cause(ctx))
	}
}

// unconfirmed is the error where nobody can be asked.
func unconfirmed(warning string) error {
	return fail(exitUnconfirmed, "%s", lines(warning, "Nothing was changed: there is nobody to ask. Add --yes to do it without a question."))
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)

	return ok && term.IsTerminal(int(file.Fd()))
}
