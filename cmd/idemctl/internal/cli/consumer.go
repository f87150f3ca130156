package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/idem"
)

func newConsumer(a *app) *cobra.Command {
	return group("consumer", "List, register, change, rename and delete consumers",
		`A consumer is the scope of deduplication: each consumer processes each event once. A service
registers its own the first time that it runs.`,
		newConsumerList(a), newConsumerRegister(a), newConsumerSetRetention(a),
		newConsumerRename(a), newConsumerDelete(a), newConsumerRebind(a))
}

func newConsumerList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the consumers",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return a.withStore(command, func(ctx context.Context, s *store) error {
				all, err := s.consumers(ctx, "")
				if err != nil {
					return err
				}
				r := make(consumerList, len(all))
				for i, c := range all {
					r[i] = listedConsumer{Consumer: c.Name, Retention: seconds(c.Retention), CreatedAt: c.CreatedAt.UTC(), Group: c.BoundGroup, Cluster: c.BoundCluster, Closed: c.Closed}
				}

				return a.print(r)
			})
		},
	}
}

type consumerList []listedConsumer

type listedConsumer struct {
	Consumer  string    `json:"consumer"`
	Retention seconds   `json:"retention_seconds"`
	CreatedAt time.Time `json:"created_at"`
	Group     *string   `json:"group"` // null: no Kafka group has used it
	Cluster   *string   `json:"cluster"`
	Closed    *string   `json:"closed"` // what is being done to it; null: nothing
}

func (l consumerList) text() string {
	if len(l) == 0 {
		return "No consumer is registered yet: the first event of each registers it.\n"
	}
	t := table{columns: []column{consumerColumn, {name: "RETENTION", number: true}, {name: "REGISTERED"}, {name: "GROUP"}}}
	for _, c := range l {
		group := binding(c.Cluster, c.Group, "-")
		if c.Closed != nil {
			group = "(is being " + *c.Closed + ")"
		}
		t.row(printable(c.Consumer), duration(time.Duration(c.Retention)), timestamp(c.CreatedAt), group)
	}

	return t.String()
}

func newConsumerRegister(a *app) *cobra.Command {
	retention := duration(idem.DefaultRetention)
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

type registerReport struct {
	Consumer  string  `json:"consumer"`
	Retention seconds `json:"retention_seconds"`
}

func (r registerReport) text() string {
	return fmt.Sprintf("%s is registered with a retention of %s.\n", printable(r.Consumer), duration(time.Duration(r.Retention)))
}

func (a *app) register(command *cobra.Command, name string, retention time.Duration) error {
	return a.withStore(command, func(ctx context.Context, s *store) error {
		guard, err := idem.New(s.pool, idem.Config{Consumer: name, Schema: s.schema, Retention: retention, Logger: s.log})
		if err != nil {
			return fail(exitUsage, "%w", err)
		}
		err = guard.Register(ctx)
		var conflict *idem.RetentionConflictError
		if errors.As(err, &conflict) {
			return fmt.Errorf("%s is registered already, with a retention of %s; to change it run \"idemctl consumer set-retention %s %s%s\"",
				printable(name), duration(conflict.Registered), shellWord(name), duration(retention), s.schemaArgument())
		}
		if err != nil {
			return err //nolint:wrapcheck // It says all.
		}

		return a.print(registerReport{Consumer: name, Retention: seconds(retention)})
	})
}
