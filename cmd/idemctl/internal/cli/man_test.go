package cli

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// The page holds what the help of each command says. Where man's programs are installed, they must
// find nothing wrong with it.
func TestManual(t *testing.T) {
	t.Parallel()
	page := (&bundle{}).ok(t, "man")
	text := plain(t, page)
	var visit func(*cobra.Command)
	visit = func(command *cobra.Command) {
		if !command.IsAvailableCommand() && command.HasParent() {
			return
		}
		said := command.Short
		if command.Long != "" {
			said = command.Long
		}
		if !strings.Contains(words(text), words(said)) {
			t.Errorf("the manual lacks the help of %q:\n%s", command.CommandPath(), said)
		}
		for _, child := range command.Commands() {
			visit(child)
		}
	}
	visit(newRoot(&app{}))
	contains(t, text, "    7  doctor: problems\n", "--database-url URL")

	if _, err := exec.LookPath("groff"); err != nil {
		return
	}
	cmd := exec.CommandContext(t.Context(), "groff", "-k", "-man", "-Tutf8", "-ww", "-z")
	cmd.Stdin = strings.NewReader(page)
	if complaints, err := cmd.CombinedOutput(); err != nil || len(complaints) > 0 {
		t.Errorf("groff: %v\n%s", err, complaints)
	}
}

// plain is the text of a page without its markup.
func plain(t *testing.T, page string) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, ".") {
			b.WriteString(strings.TrimPrefix(line, `\&`))
		}
	}

	return strings.NewReplacer(`\e`, `\`, `\-`, `-`, `\(ga`, "`", `\(dq`, `"`, `\(aq`, "'", `\(ha`, `^`, `\(ti`, `~`).Replace(b.String())
}

// words is a text without its line breaks.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }
