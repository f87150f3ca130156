package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newConsumerPause(a *app) *cobra.Command {
	var request ops.PauseRequest
	command := &cobra.Command{
		Use:   "pause NAME",
		Short: "Have all processes of a consumer stand still, within 2 s and until it is resumed",
		Long: `Pauses a consumer: within 2 s all processes of its group begin with no other record. Records in
progress are finished first. The processes stay in the group, so nothing is rebalanced, and one that
starts waits too. Pausing a consumer that is paused changes nothing.

The database's role and this host are recorded, with --by and --reason. It needs the role that owns
the tables, or the right to update the columns paused_at, paused_by and pause_reason of "consumers".`,
		Example: `  idemctl consumer pause orders --by alice --reason "payments are down"`,
		Args:    wants("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
				r, err := c.Pause(ctx, args[0], request)
				if err != nil {
					return err
				}

				return a.print(r, pauseText(r))
			})
		},
	}
	command.Flags().StringVar(&request.By, "by", "", "`NAME` of who pauses it, for people")
	command.Flags().StringVar(&request.Reason, "reason", "", "`TEXT` that says why, for people")

	return command
}

func newConsumerResume(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "resume NAME",
		Short:   "Let a consumer go on that is paused, within 2 s",
		Example: `  idemctl consumer resume orders`,
		Args:    wants("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
				r, err := c.Resume(ctx, args[0])
				if err != nil {
					return err
				}

				return a.print(r, resumeText(r))
			})
		},
	}
}

func pauseText(r ops.PauseResult) string {
	switch name := readable.Name(r.Consumer); {
	case r.Pause == nil:
		return name + " was paused and has been resumed meanwhile.\n"
	case !r.Changed:
		return name + " was paused already, and stays " + r.Pause.String() + "\n"
	case r.Group == nil:
		return name + " is " + r.Pause.String() + "\nNo Kafka group has used it yet, so that nothing stands still now: the guard's own calls, and leases, do not ask.\n"
	default:
		return name + " is " + r.Pause.String() + "\nIts processes stand still within 2 s, or when the records in progress are finished.\n"
	}
}

func resumeText(r ops.PauseResult) string {
	name := readable.Name(r.Consumer)
	if r.Pause == nil {
		return name + " was not paused.\n"
	}

	return name + " goes on. It was " + r.Pause.String() + "\n"
}
