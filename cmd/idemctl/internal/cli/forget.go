package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func newForget(a *app) *cobra.Command {
	var file string
	command := &cobra.Command{
		Use:   "forget EVENT-ID...",
		Short: "Forget events, so that they are processed again",
		Long: `Forgets that a consumer processed events. When they are delivered again they are processed
again; what they did the first time stays done. Asks before it does so.

` + idsHelp,
		Example: `  idemctl forget 4711 --consumer orders
  idemctl forget --file ids.txt --consumer orders --yes`,
		RunE: func(command *cobra.Command, args []string) error { return a.forget(command, args, file) },
	}
	a.consumerFlag(command, "`NAME` of the consumer that shall process the events again")
	fileFlag(command, &file)
	a.yesFlag(command)

	return command
}

type forgetReport struct {
	Consumer  string `json:"consumer"`
	Events    int    `json:"events"` // distinct ids that were given
	Forgotten int64  `json:"forgotten"`
	Unknown   int64  `json:"unknown"`
	Complete  bool   `json:"complete"`
}

func (r forgetReport) text() string {
	text := fmt.Sprintf("%s forgotten for %s, %s not known.\n", events(r.Forgotten), printable(r.Consumer), number(r.Unknown))
	if !r.Complete {
		text += events(int64(r.Events)-r.Forgotten-r.Unknown) + " not forgotten yet; run the same command again.\n"
	}

	return text
}

func (a *app) forget(command *cobra.Command, args []string, file string) error {
	if err := a.needConsumer(); err != nil {
		return err
	}
	given, err := a.readEventIDs(command.Context(), args, file)
	if err != nil {
		return err
	}
	warning := fmt.Sprintf("%s will be processed again by %s when delivered again; what was done the first time stays done.",
		events(int64(len(given.ids))), printable(a.settings.consumer))
	if given.fromStdin && !a.settings.yes {
		return unconfirmed(warning) // Stdin cannot bring the ids and an answer.
	}

	return a.withStore(command, func(ctx context.Context, s *store) error {
		guard, err := s.guard(ctx, a.settings.consumer)
		if err != nil {
			return err
		}
		if err := a.confirm(ctx, warning); err != nil {
			return err
		}
		r := forgetReport{Consumer: a.settings.consumer, Events: len(given.ids)}
		err = inParts(a, "forgetting", given.ids, func(part []string) error {
			forgotten, err := guard.Forget(ctx, part...)
			r.Forgotten += forgotten
			if err == nil {
				r.Unknown += int64(len(part)) - forgotten
			}

			return err //nolint:wrapcheck // It says all.
		})
		r.Complete = err == nil

		return a.finish(r, err)
	})
}
