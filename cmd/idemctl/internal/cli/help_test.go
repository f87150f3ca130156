package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestEveryCommandHasHelp(t *testing.T) {
	t.Parallel()
	b := &bundle{}
	var visit func(*cobra.Command)
	visit = func(command *cobra.Command) {
		if command.Short == "" {
			t.Errorf("%s has no short help", command.CommandPath())
		}
		path := strings.Fields(command.CommandPath())
		contains(t, b.ok(t, append(path[1:], "--help")...), "Usage:", "--json")
		for _, child := range command.Commands() {
			visit(child)
		}
	}
	visit(newRoot(&app{}))
}

func TestHelpTellsTheExitStatuses(t *testing.T) {
	t.Parallel()
	help := (&bundle{}).ok(t)
	for _, status := range []int{0, exitFailure, exitUsage, exitNotFound, exitUnconfirmed, exitBusy, exitWarning, exitProblem, exitInterrupted} {
		contains(t, help, fmt.Sprintf("\n%5d  ", status))
	}
	for _, variable := range []string{"IDEM_DATABASE_URL", "DATABASE_URL", "IDEM_SCHEMA"} {
		contains(t, help, variable)
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		contains(t, (&bundle{}).ok(t, "completion", shell), "idemctl")
	}
}
