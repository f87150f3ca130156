package cli

import (
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newMan(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "man",
		Short:   "Print the manual page",
		Long:    `Prints the manual page, idemctl(1), of all commands.`,
		Example: `  idemctl man | man -l -`,
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			_, err := io.WriteString(a.Stdout, manual(command.Root()))

			return err
		},
	}
}

// manualWidth is that of a terminal, less man's own indentation.
const manualWidth = 70

// manual is the manual page of a program in the language of man(7). It says what the help says.
func manual(root *cobra.Command) string {
	name := strings.ToUpper(root.Name())
	page := &roff{}
	page.macro(".TH", name, "1", "", root.Name()+" "+root.Version)
	page.macro(".SH", "NAME")
	page.text(root.Name() + " - " + root.Short)
	page.macro(".SH", "SYNOPSIS")
	page.text(root.Name() + " COMMAND [FLAGS]")
	page.macro(".SH", "DESCRIPTION")
	page.text(root.Long)
	page.macro(".SH", "FLAGS OF ALL COMMANDS")
	page.flags(root.PersistentFlags())
	page.macro(".SH", "EXAMPLES")
	page.text(root.Example)
	page.macro(".SH", "COMMANDS")
	page.commands(root)

	return page.page.String()
}

// roff is a text in the language of man(7).
type roff struct{ page strings.Builder }

func (r *roff) macro(name string, arguments ...string) {
	r.page.WriteString(name)
	for _, argument := range arguments {
		r.page.WriteString(` "` + roffText.Replace(argument) + `"`)
	}
	r.page.WriteString("\n")
}

var roffText = strings.NewReplacer(`\`, `\e`, `-`, `\-`, "`", `\(ga`, `"`, `\(dq`, "'", `\(aq`, `^`, `\(ha`, `~`, `\(ti`)

// text adds lines of help. Those that are indented stay lines, the others are filled.
func (r *roff) text(help string) {
	fixed := false
	for line := range strings.Lines(strings.Trim(help, "\n") + "\n") {
		indented := strings.HasPrefix(line, " ")
		switch {
		case line == "\n":
			line = ".PP\n"
		case strings.HasPrefix(line, "."):
			line = `\&` + roffText.Replace(line)
		default:
			line = roffText.Replace(line)
		}
		switch {
		case indented && !fixed:
			r.macro(".PP")
			r.macro(".nf")
		case !indented && fixed:
			r.macro(".fi")
		}
		fixed = indented
		r.page.WriteString(line)
	}
	if fixed {
		r.macro(".fi")
	}
}

func (r *roff) flags(flags *pflag.FlagSet) { r.text(flags.FlagUsagesWrapped(manualWidth)) }

// commands adds the commands below one.
func (r *roff) commands(parent *cobra.Command) {
	for _, command := range parent.Commands() {
		if !command.IsAvailableCommand() {
			continue
		}
		r.macro(".SS", command.CommandPath()+strings.TrimPrefix(command.Use, command.Name()))
		if command.Long == "" {
			r.text(command.Short + ".")
		}
		r.text(command.Long)
		if command.HasLocalFlags() {
			r.flags(command.LocalFlags())
		}
		if command.HasExample() {
			r.text(command.Example)
		}
		r.commands(command)
	}
}
