package cli

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/ops"
)

// completionTimeout is how long a shell waits for what the database knows.
const completionTimeout = 2 * time.Second

// completeNames has a shell complete the names of consumers and topics in a command and those below it.
func (a *app) completeNames(command *cobra.Command) {
	command.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	consumers := a.offer(consumerNames)
	for flag, offer := range map[string]cobra.CompletionFunc{
		"consumer": consumers,
		"topic":    a.offer(a.topicNames),
		"file":     cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault),
	} {
		_ = command.RegisterFlagCompletionFunc(flag, offer) // It fails where the command has no such flag.
	}
	_, argument, _ := strings.Cut(command.Use, " ")
	if first, _, _ := strings.Cut(argument, " "); first == "NAME" || first == "OLD" {
		command.ValidArgsFunction = firstOnly(consumers)
	}
	for _, child := range command.Commands() {
		a.completeNames(child)
	}
}

func firstOnly(offer cobra.CompletionFunc) cobra.CompletionFunc {
	return func(command *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}

		return offer(command, args, typed)
	}
}

// offer offers what list finds in the database. If that takes too long or fails it offers nothing and says
// nothing: somebody is typing.
func (a *app) offer(list func(ctx context.Context, c *ops.Client) ([]string, error)) cobra.CompletionFunc {
	return func(command *cobra.Command, args []string, _ string) (offered []string, _ cobra.ShellCompDirective) {
		a.Stderr, a.settings.timeout = io.Discard, completionTimeout
		err := a.begin(command, args)
		if err == nil {
			err = a.withClient(command, func(ctx context.Context, c *ops.Client) error {
				names, err := list(ctx, c)
				for _, name := range names {
					if !strings.ContainsFunc(name, unicode.IsControl) {
						offered = append(offered, name)
					}
				}

				return err
			})
		}
		if err != nil {
			cobra.CompDebugln(err.Error(), false) // To the file $BASH_COMP_DEBUG_FILE, if there is one.
		}

		slices.Sort(offered)

		return slices.Compact(offered), cobra.ShellCompDirectiveNoFileComp
	}
}

func consumerNames(ctx context.Context, c *ops.Client) ([]string, error) {
	consumers, err := c.Consumers(ctx)
	names := make([]string, len(consumers))
	for i, consumer := range consumers {
		names[i] = consumer.Name
	}

	return names, err
}

// topicNames are the topics of the consumer that the line names, or of all.
func (a *app) topicNames(ctx context.Context, c *ops.Client) ([]string, error) {
	checkpoints, err := c.Checkpoints(ctx, a.settings.consumer, "")
	names := make([]string, len(checkpoints))
	for i, checkpoint := range checkpoints {
		names[i] = checkpoint.Topic
	}

	return names, err
}
