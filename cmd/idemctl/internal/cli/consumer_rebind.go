package cli

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newConsumerRebind(a *app) *cobra.Command {
	var (
		cluster, group string
		watch          time.Duration
	)
	command := &cobra.Command{
		Use:   "rebind NAME",
		Short: "Let a consumer belong to another Kafka group, or to the next one",
		Long: `A consumer belongs to the Kafka group and cluster that used it first. Rebind lets it belong to the
next group that uses it, or to the group that --group and --cluster name. Use it for a group that was
renamed or moved. Stop the former group first: two groups that share a consumer take each other's
events for their own, and each processes only a part. The command watches the consumer (--watch) and
changes nothing if it processes anything in that time. It asks if the consumer belongs to a group.`,
		Example: `  idemctl consumer rebind payments
  idemctl consumer rebind payments --group payments-v2 --cluster MkU3OEVBNTcwNTJENDM2Qk`,
		Args: wants("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			if (cluster == "") != (group == "") {
				return fail(exitUsage, "give --group and --cluster, or neither for the next group that comes")
			}

			return a.rebind(command, args[0], cluster, group, watch)
		},
	}
	command.Flags().StringVar(&group, "group", "", "`GROUP` that is to have it (default: the next one that comes)")
	command.Flags().StringVar(&cluster, "cluster", "", "`ID` of that group's cluster")
	watchFlag(command, &watch)
	a.yesFlag(command)

	return command
}

func (a *app) rebind(command *cobra.Command, name, cluster, group string, watch time.Duration) error {
	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		plan, err := c.PlanRebind(ctx, name, cluster, group)
		if err != nil {
			return err
		}
		former := binding(plan.PreviousCluster, plan.PreviousGroup, "no group")
		if plan.PreviousGroup != nil {
			err := a.confirm(ctx, fmt.Sprintf("%s belongs to %s. If that group still runs, it and the next one each process a part of the events.", readable.Name(name), former))
			if err != nil {
				return err
			}
		}
		if err := c.Rebind(ctx, plan, ops.ChangeOptions{Watch: cmp.Or(watch, 1)}); err != nil {
			return err
		}

		return a.print(plan, fmt.Sprintf("%s belonged to %s; it now belongs to %s.\n", readable.Name(name), former,
			binding(plan.Cluster, plan.Group, "the next group that uses it")))
	})
}

// binding names a group and its cluster.
func binding(cluster, group *string, none string) string {
	if group == nil {
		return none
	}
	of := ""
	if cluster != nil {
		of = *cluster
	}

	return readable.Name(*group) + " of cluster " + readable.Name(of)
}
