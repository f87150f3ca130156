package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newConsumer(a *app) *cobra.Command {
	return group("consumer", "List, register, pause, change, rename and delete consumers",
		`A consumer is the scope of deduplication: each consumer processes each event once. A service
registers its consumer when it runs for the first time.`,
		newConsumerList(a), newConsumerRegister(a), newConsumerSetRetention(a),
		newConsumerPause(a), newConsumerResume(a), newConsumerRename(a), newConsumerDelete(a), newConsumerRebind(a))
}

func newConsumerList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the consumers",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
				all, err := c.Consumers(ctx)
				if err != nil {
					return err
				}

				return a.print(all, consumersText(all))
			})
		},
	}
}

func consumersText(l []ops.Consumer) string {
	if len(l) == 0 {
		return "No consumer is registered yet: the first event of each registers it.\n"
	}
	t := table{columns: []column{consumerColumn, {name: "RETENTION", number: true}, {name: "REGISTERED"}, {name: "GROUP"}, {name: "STATE"}}}
	for _, c := range l {
		state := "-"
		switch {
		case c.Closed != nil:
			state = "is being " + readable.Name(*c.Closed)
		case c.Pause != nil:
			state = c.Pause.String()
		}
		t.row(readable.Name(c.Name), readable.Duration(c.Retention.Duration()), readable.Timestamp(c.CreatedAt), binding(c.Cluster, c.Group, "-"), state)
	}

	return t.String()
}

func newConsumerRegister(a *app) *cobra.Command {
	retention := readable.Duration(idem.DefaultRetention)
	command := &cobra.Command{
		Use:   "register NAME",
		Short: "Register a consumer before its service first runs",
		Long: `Registers a consumer, so that events can be marked or imported for it before its service first
runs. Registering it again with the same retention changes nothing.`,
		Example: `  idemctl consumer register orders --retention 14d`,
		Args:    wants("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			d, err := parseDuration(retention)
			if err != nil {
				return fail(exitUsage, "--retention: %w", err)
			}

			return a.register(command, args[0], d)
		},
	}
	command.Flags().StringVarP(&retention, "retention", "r", retention, "how long its events are remembered: a `DURATION` like 7d, 36h or 1d12h")

	return command
}

func (a *app) register(command *cobra.Command, name string, retention time.Duration) error {
	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		r, err := c.RegisterConsumer(ctx, name, retention)
		if err != nil {
			return err
		}

		return a.print(r, fmt.Sprintf("%s is registered with a retention of %s.\n", readable.Name(r.Consumer), readable.Duration(r.Retention.Duration())))
	})
}
