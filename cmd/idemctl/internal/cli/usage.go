package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// wants returns what checks that a command was given just the arguments that it needs.
func wants(names ...string) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return fail(exitUsage, "%q needs %s", command.CommandPath(), strings.Join(names[len(args):], " and "))
		case len(args) > len(names):
			return fail(exitUsage, "%q takes %s and no more; %s is one too many (put what has spaces in quotes)",
				command.CommandPath(), strings.Join(names, " and "), readable.Name(args[len(names)]))
		default:
			return nil
		}
	}
}

// missing says which flags the line lacks: "the line lacks --topic, --offset".
func missing(command *cobra.Command, flags ...string) string {
	var names []string
	for _, name := range flags {
		if !command.Flags().Changed(name) {
			names = append(names, "--"+name)
		}
	}
	if names == nil {
		return ""
	}

	return "the line lacks " + strings.Join(names, ", ")
}

// mayBeEmpty are the flags that say something when they are empty, "all" or "none" in place of what the environment says, or nothing
// that a command goes by.
var mayBeEmpty = []string{ofConsumer, "brokers", "by", "reason", "content-type"}

// refuseEmpty refuses flags that are empty. In a script such a flag is a variable that is not set, and would stand for
// all topics, or for another schema.
func refuseEmpty(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(flag *pflag.Flag) {
		if err == nil && flag.Value.String() == "" && !slices.Contains(mayBeEmpty, flag.Name) {
			err = fail(exitUsage, "--%s is empty; leave it out if it is not needed", flag.Name)
		}
	})

	return err
}

// kinds say what the value of a flag must be, by pflag's names of the types.
var kinds = map[string]string{
	"int64":    "a whole number",
	"int32":    "a whole number below 2,147,483,648",
	"int":      "a whole number",
	"duration": "a duration like 30s, 5m or 1h30m",
	"bool":     "true or false, after an equals sign, or nothing",
}

// explainFlag says of a flag's value what it should be.
func explainFlag(_ *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	kind, known := kinds[invalid.GetFlag().Value.Type()]
	if !known {
		return err
	}

	return fmt.Errorf("--%s must be %s, not %s", invalid.GetFlag().Name, kind, readable.Name(invalid.GetValue()))
}

// refuseStrays makes the commands that cobra adds fail at what they do not know. They print help and
// succeed.
func refuseStrays(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, command := range root.Commands() {
		switch command.Name() {
		case "completion":
			command.RunE = needsCommand
		case "help":
			command.Args = func(_ *cobra.Command, args []string) error {
				if _, rest, err := root.Find(args); err != nil || len(rest) > 0 {
					return fail(exitUsage, "there is no command %s", readable.Name(strings.Join(args, " ")))
				}

				return nil
			}
		}
	}
}

// needsCommand is what a command does that only holds others.
func needsCommand(command *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fail(exitUsage, "unknown command %q for %q", args[0], command.CommandPath())
	}

	return fail(exitUsage, "%q needs a command", command.CommandPath())
}

const (
	longWord = 300  // bytes; names have at most 255
	longLine = 2000 // bytes
)

// cutLong cuts the words and lines of a message that nobody would read, such as event ids of 5,000 bytes.
func cutLong(message string) string {
	var b strings.Builder
	for line := range strings.Lines(message) {
		words := strings.SplitAfter(line, " ")
		for i, word := range words {
			if len(word) > longWord {
				words[i] = readable.Short(word) + trailing(word)
			}
		}
		line = strings.Join(words, "")
		if len(line) > longLine {
			line = strings.ToValidUTF8(line[:longLine], "") + "…" + trailing(line)
		}
		b.WriteString(line)
	}

	return b.String()
}

// trailing is the white space at the end of a text.
func trailing(text string) string { return text[len(strings.TrimRight(text, " \n")):] }
