package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
)

func newMark(a *app) *cobra.Command {
	var file string
	command := &cobra.Command{
		Use:   "mark EVENT-ID...",
		Short: "Mark events as processed without processing them",
		Long: `Marks events as processed for a consumer, without processing them: when they are delivered
they count as duplicates. Events that are processed already stay as they are.

` + idsHelp,
		Example: `  idemctl mark 4711 4712 --consumer orders
  psql -Atc 'SELECT event_id FROM handled' | idemctl mark - --consumer orders`,
		RunE: func(command *cobra.Command, args []string) error { return a.mark(command, args, file) },
	}
	a.consumerFlag(command, "`NAME` of the consumer that shall not process the events")
	fileFlag(command, &file)

	return command
}

type markReport struct {
	Consumer         string `json:"consumer"`
	Events           int    `json:"events"` // distinct ids that were given
	Marked           int64  `json:"marked"`
	AlreadyProcessed int64  `json:"already_processed"`
	Complete         bool   `json:"complete"`
}

func (r markReport) text() string {
	text := fmt.Sprintf("%s marked as processed for %s, %s processed before.\n", events(r.Marked), printable(r.Consumer), number(r.AlreadyProcessed))
	if !r.Complete {
		text += events(int64(r.Events)-r.Marked-r.AlreadyProcessed) + " not marked yet; run the same command again.\n"
	}

	return text
}

func (a *app) mark(command *cobra.Command, args []string, file string) error {
	if err := a.needConsumer(); err != nil {
		return err
	}
	given, err := a.readEventIDs(command.Context(), args, file)
	if err != nil {
		return err
	}

	return a.withStore(command, func(ctx context.Context, s *store) error {
		guard, err := s.guard(ctx, a.settings.consumer)
		if err != nil {
			return err
		}
		r := markReport{Consumer: a.settings.consumer, Events: len(given.ids)}
		err = inParts(a, "marking", given.ids, func(part []string) error {
			marked, err := guard.MarkAllProcessed(ctx, part)
			r.Marked += marked
			if err == nil {
				r.AlreadyProcessed += int64(len(part)) - marked
			}

			return err //nolint:wrapcheck // It says all.
		})
		r.Complete = err == nil

		return a.finish(r, err)
	})
}

// inParts works through many ids and shows how far it has come.
func inParts[ID any](a *app, title string, ids []ID, work func(part []ID) error) error {
	bar := a.progress(title)
	defer bar.end()
	done := 0
	bar.set(0, int64(len(ids)))
	for part := range slices.Chunk(ids, idsAtOnce) {
		if err := work(part); err != nil {
			return err
		}
		done += len(part)
		bar.set(int64(done), int64(len(ids)))
	}

	return nil
}

// finish prints what was done, also where an error or a signal ended the work early.
func (a *app) finish(r report, err error) error {
	if printErr := a.print(r); err == nil {
		err = printErr
	}

	return err
}
