package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/idem"
)

func newCleanup(a *app) *cobra.Command {
	var dryRun bool
	command := &cobra.Command{
		Use:   "cleanup",
		Short: "Forget the events that are older than their consumer's retention",
		Long: `Forgets the events of all consumers that are older than their consumer's retention, in one
pass over the table. It works in transactions of about 5 ms and can run at any time; a
signal ends it between two of them. Services that run a Cleaner do not need it.

Events that somebody has locked are left for the next pass. One process cleans up at a time; the
exit status is 5 if another one does.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return a.cleanup(command, dryRun) },
	}
	command.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "only count what would be forgotten")

	return command
}

type cleanupReport struct {
	Deleted     int64             `json:"deleted"`
	Consumers   []consumerDeleted `json:"consumers"`
	DeadLetters int64             `json:"dead_letters"`
	Batches     int               `json:"batches"`
	Elapsed     seconds           `json:"elapsed_seconds"`
	Complete    bool              `json:"complete"`
}

type consumerDeleted struct {
	Consumer string `json:"consumer"`
	Deleted  int64  `json:"deleted"`
}

func (r cleanupReport) text() string {
	t := table{columns: []column{consumerColumn, {name: "FORGOTTEN", number: true}}}
	for _, c := range r.Consumers {
		t.row(printable(c.Consumer), number(c.Deleted))
	}
	text := fmt.Sprintf("%s forgotten in %v.\n", events(r.Deleted), time.Duration(r.Elapsed).Round(time.Millisecond))
	if r.DeadLetters > 0 {
		text += plural(r.DeadLetters, "resolved dead letter") + " removed.\n"
	}
	if len(t.rows) > 0 {
		text = t.String() + "\n" + text
	}

	return text
}

type dryRunReport struct {
	Expired   int64             `json:"expired"`
	Consumers []consumerExpired `json:"consumers"`
}

type consumerExpired struct {
	Consumer string `json:"consumer"`
	Expired  int64  `json:"expired"`
}

func (r dryRunReport) text() string {
	t := table{columns: []column{consumerColumn, {name: "EXPIRED", number: true}}}
	for _, c := range r.Consumers {
		t.row(printable(c.Consumer), number(c.Expired))
	}
	text := events(r.Expired) + " would be forgotten; nothing was changed.\n"
	if len(t.rows) > 0 {
		text = t.String() + "\n" + text
	}

	return text
}

func (a *app) cleanup(command *cobra.Command, dryRun bool) error {
	return a.withStore(command, func(ctx context.Context, s *store) error {
		bar := a.progress("cleaning up")
		defer bar.end()
		cleaner, err := idem.NewCleaner(s.pool, idem.CleanerConfig{
			Schema: s.schema,
			Logger: s.log,
			Progress: func(p idem.CleanupProgress) {
				bar.set(p.BlocksDone, p.BlocksTotal)
			},
		})
		if err != nil {
			return fmt.Errorf("make a cleaner: %w", err)
		}
		if dryRun {
			return a.countExpired(ctx, cleaner)
		}
		done, err := cleaner.Clean(ctx)
		bar.end()
		r := cleanupReport{
			Deleted: done.Deleted, Consumers: []consumerDeleted{}, DeadLetters: done.DeadLetters, Batches: done.Batches,
			Elapsed: seconds(done.Elapsed), Complete: done.Complete,
		}
		for _, name := range slices.Sorted(maps.Keys(done.Consumers)) {
			r.Consumers = append(r.Consumers, consumerDeleted{Consumer: name, Deleted: done.Consumers[name]})
		}
		if err == nil && !done.Complete {
			err = fail(exitBusy, "another process is cleaning up%s; it does the work, try again later if you want to see it done", by(done.Leader))
		}

		return a.finish(r, err)
	})
}

func by(leader string) string {
	if leader == "" {
		return ""
	}

	return " in the session " + leader
}

func (a *app) countExpired(ctx context.Context, cleaner *idem.Cleaner) error {
	counts, err := cleaner.CountExpired(ctx)
	if err != nil {
		return err //nolint:wrapcheck // It says all.
	}
	r := dryRunReport{Consumers: []consumerExpired{}}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		r.Expired += counts[name]
		r.Consumers = append(r.Consumers, consumerExpired{Consumer: name, Expired: counts[name]})
	}

	return a.print(r)
}
