package cli

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/nova-events/idempotent-consumer/internal/markdown"
)

// placeholder is a word that stands for a value, such as EVENT-ID.
var placeholder = regexp.MustCompile(`^[A-Z][A-Z-]*$`)

// The documentation names commands and flags that there are, with as many arguments as they take.
func TestDocsCommands(t *testing.T) {
	t.Parallel()
	pages, err := markdown.Pages("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	delete(pages, "CHANGELOG.md") // Commands had other names once.
	checked := 0
	for name, page := range pages {
		for _, command := range page.Commands("idemctl") {
			checked++
			if err := parseLine(command.Words[1:], command.Whole); err != nil {
				t.Errorf("%s:%d: mend \"%s\": %v", name, command.Line, strings.Join(command.Words, " "), err)
			}
		}
	}
	if checked < 50 {
		t.Errorf("%d commands were found", checked)
	}
}

// parseLine parses the arguments of a line as idemctl does. Unless it is whole, arguments may be missing.
func parseLine(args []string, whole bool) error {
	command, rest, err := newRoot(&app{}).Find(args)
	if err != nil {
		return err
	}
	for i, word := range rest {
		if placeholder.MatchString(word) {
			rest[i] = "1"
		}
	}
	command.InitDefaultHelpFlag()
	if err := command.ParseFlags(rest); err != nil && !errors.Is(err, pflag.ErrHelp) {
		return err
	}
	switch help := command.Flags().Changed("help"); {
	case help:
		return nil
	case command.HasAvailableSubCommands() && (whole || command.Flags().NArg() > 0):
		return fmt.Errorf("%q needs a command, not %q", command.CommandPath(), command.Flags().Args())
	case whole:
		return command.ValidateArgs(command.Flags().Args())
	default:
		return nil
	}
}
