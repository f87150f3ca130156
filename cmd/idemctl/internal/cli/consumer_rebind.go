package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/db"
)

func newConsumerRebind(a *app) *cobra.Command {
	var cluster, group string
	command := &cobra.Command{
		Use:   "rebind NAME",
		Short: "Let a consumer belong to another Kafka group, or to the next one",
		Long: `A consumer belongs to the Kafka group and cluster that used it first. Rebind lets it belong to the
next group that uses it, or with --group and --cluster to that one. It is for a group that was renamed
or moved: two groups that share a consumer take each other's events for their own, and process a part
each. Stop the former group first. Asks if the consumer belongs to a group.`,
		Example: `  idemctl consumer rebind payments
  idemctl consumer rebind payments --group payments-v2 --cluster MkU3OEVBNTcwNTJENDM2Qk`,
		Args: wants("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			if (cluster == "") != (group == "") {
				return fail(exitUsage, "give --group and --cluster, or neither for the next group that comes")
			}

			return a.rebind(command, args[0], unlessEmpty(cluster), unlessEmpty(group))
		},
	}
	command.Flags().StringVar(&group, "group", "", "`GROUP` that is to have it (default: the next one that comes)")
	command.Flags().StringVar(&cluster, "cluster", "", "`ID` of that group's cluster")
	a.yesFlag(command)

	return command
}

// unlessEmpty is a text, or nil where it is empty.
func unlessEmpty(text string) *string {
	if text == "" {
		return nil
	}

	return &text
}

type rebindReport struct {
	Consumer        string  `json:"consumer"`
	Group           *string `json:"group"` // null: the next one that comes
	Cluster         *string `json:"cluster"`
	PreviousGroup   *string `json:"previous_group"`
	PreviousCluster *string `json:"previous_cluster"`
}

func (r rebindReport) text() string {
	return fmt.Sprintf("%s belonged to %s; it now belongs to %s.\n", printable(r.Consumer), binding(r.PreviousCluster, r.PreviousGroup, "no group"),
		binding(r.Cluster, r.Group, "the next group that uses it"))
}

// binding names a group and its cluster.
func binding(cluster, group *string, none string) string {
	if group == nil {
		return none
	}

	return printable(*group) + " of cluster " + printable(text(cluster))
}

func (a *app) rebind(command *cobra.Command, name string, cluster, group *string) error {
	return a.withStore(command, func(ctx context.Context, s *store) error {
		consumer, err := s.consumer(ctx, name)
		if err != nil {
			return err
		}
		r := rebindReport{
			Consumer: name, Group: group, Cluster: cluster, PreviousGroup: consumer.BoundGroup, PreviousCluster: consumer.BoundCluster,
		}
		warning := fmt.Sprintf("%s belongs to %s. If that group still runs, it and the next one each process a part of the events.",
			printable(name), binding(r.PreviousCluster, r.PreviousGroup, "no group"))
		if consumer.BoundGroup != nil {
			if err := a.confirm(ctx, warning); err != nil {
				return err
			}
		}
		if _, err := s.queries.ConsumerRebind(ctx, s.conn, db.ConsumerRebindParams{ID: consumer.ID, BoundCluster: cluster, BoundGroup: group}); err != nil {
			return fmt.Errorf("bind the consumer: %w", err)
		}

		return a.print(r)
	})
}
