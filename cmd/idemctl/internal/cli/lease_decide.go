package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

// leaseDecision are the flags of "lease decide".
type leaseDecision struct {
	tookEffect, rerun   bool
	result, contentType string
	request             ops.DecisionRequest
}

func newLeaseDecide(a *app) *cobra.Command {
	var decision leaseDecision
	command := &cobra.Command{
		Use:   "decide EVENT-ID (--took-effect | --rerun)",
		Short: "Decide about an event of which nobody knows whether it took effect",
		Long: `Decides about an event of which nobody knows whether it took effect. Look at the other system first.

With --took-effect the event is completed, with the result that the service would have stored
(--result): it never runs again. With --rerun the next delivery runs it again, which repeats the
effect if it has happened and the other system does not recognize the repetition.

The command asks first. It changes nothing while an attempt is running. The database's role and this
host are recorded, with --by and --reason: with the claim, or with the lease until it is completed.
--rerun needs the rights that "idemctl migrate print --grants" prints.

The exit status is 3 if the consumer has no lease of the event.`,
		Example: `  idemctl lease decide 4711 --consumer payments --took-effect --result charge.json --by alice
  idemctl lease decide 4711 --consumer payments --rerun --by alice --reason "not in the provider's list"`,
		Args: wants("EVENT-ID"),
		RunE: func(command *cobra.Command, args []string) error { return a.decideLease(command, args[0], decision) },
	}
	a.consumerFlag(command, "`NAME` of the consumer whose lease is meant")
	flags := command.Flags()
	flags.BoolVar(&decision.tookEffect, "took-effect", false, "the effect has happened: complete the event")
	flags.BoolVar(&decision.rerun, "rerun", false, "let the event be run again")
	flags.StringVar(&decision.result, "result", "", "`FILE` with the result, for --took-effect (default: an empty result)")
	flags.StringVar(&decision.contentType, "content-type", "application/json", "`TYPE` of the result")
	flags.StringVar(&decision.request.By, "by", "", "`NAME` of who decides, for people")
	flags.StringVar(&decision.request.Reason, "reason", "", "`TEXT` that says why, for people")
	a.yesFlag(command)

	return command
}

func (a *app) decideLease(command *cobra.Command, eventID string, d leaseDecision) error {
	if err := a.needConsumer(); err != nil {
		return err
	}
	if d.tookEffect == d.rerun {
		return fail(exitUsage, "which is it? give one of --took-effect and --rerun")
	}
	if d.rerun && d.result != "" {
		return fail(exitUsage, "--result is of an effect that has happened: give --took-effect")
	}
	var result ops.LeaseResult
	if d.result != "" {
		body, err := os.ReadFile(d.result)
		if err != nil {
			return fmt.Errorf("read the result: %w", err)
		}
		result = ops.LeaseResult{ContentType: d.contentType, Body: body}
	}

	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		lease, err := c.Lease(ctx, a.settings.consumer, eventID)
		if err != nil {
			return err
		}
		event := fmt.Sprintf("event %s of %s (%s of %s may have taken effect)", readable.Name(readable.Short(eventID)), readable.Name(lease.Consumer),
			readable.Number(lease.Unknown), readable.Plural(lease.Attempts, "attempt"))
		d.request.Until = lease.Until
		var decided ops.LeaseDecided
		if d.tookEffect {
			if err := a.confirm(ctx, "The "+event+" will count as completed, and never run again."); err != nil {
				return err
			}
			decided, err = c.CompleteLease(ctx, lease.Consumer, eventID, result, d.request)
		} else {
			if err := a.confirm(ctx, "The "+event+" will be run again."); err != nil {
				return err
			}
			decided, err = c.RerunLease(ctx, lease.Consumer, eventID, d.request)
		}
		if err != nil {
			return err
		}

		return a.print(decided, decidedText(decided))
	})
}

func decidedText(d ops.LeaseDecided) string {
	event := readable.Name(readable.Short(d.EventID)) + " of " + readable.Name(d.Consumer)
	if d.TookEffect {
		return "Event " + event + " is completed.\n"
	}

	return "Event " + event + " will be run again when it is delivered again.\n"
}
