package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/db"
)

func newConsumerSetRetention(a *app) *cobra.Command {
	command := &cobra.Command{
		Use:   "set-retention NAME DURATION",
		Short: "Change how long a consumer's events are remembered",
		Long: `Changes how long a consumer's events are remembered. Durations are written 7d, 36h, 1d12h or in
any form of Go's. The next cleanup goes by it; what is forgotten already stays so. If a
shorter retention makes events expire, it asks first.

Services that configure another retention than the registered one are refused when they next
start: change their configuration too, or let it take what is registered (zero).`,
		Example: `  idemctl consumer set-retention orders 14d`,
		Args:    wants("NAME", "DURATION"),
		RunE: func(command *cobra.Command, args []string) error {
			retention, err := parseDuration(args[1])
			if err != nil {
				return fail(exitUsage, "%w", err)
			}
			if retention%time.Microsecond != 0 {
				return fail(exitUsage, "%q is finer than PostgreSQL's microseconds", args[1])
			}

			return a.setRetention(command, args[0], retention)
		},
	}
	a.yesFlag(command)

	return command
}

type retentionReport struct {
	Consumer     string  `json:"consumer"`
	Retention    seconds `json:"retention_seconds"`
	Previous     seconds `json:"previous_retention_seconds"`
	NewlyExpired int64   `json:"newly_expired"` // events that would not have expired yet
}

func (r retentionReport) text() string {
	text := fmt.Sprintf("The retention of %s is %s; it was %s.\n",
		printable(r.Consumer), duration(time.Duration(r.Retention)), duration(time.Duration(r.Previous)))
	if r.NewlyExpired > 0 {
		text += events(r.NewlyExpired) + " more expired by that; the next cleanup forgets them.\n"
	}

	return text
}

func (a *app) setRetention(command *cobra.Command, name string, retention time.Duration) error {
	return a.withStore(command, func(ctx context.Context, s *store) error {
		consumer, err := s.consumer(ctx, name)
		if err != nil {
			return err
		}
		r := retentionReport{Consumer: name, Retention: seconds(retention), Previous: seconds(consumer.Retention)}
		if retention < consumer.Retention {
			if r.NewlyExpired, err = s.newlyExpired(ctx, consumer, retention); err != nil {
				return err
			}
		}
		if r.NewlyExpired > 0 {
			err := a.confirm(ctx, fmt.Sprintf("With a retention of %s instead of %s, %s of %s expire at once. When delivered again after the next cleanup, they will be processed again.",
				duration(retention), duration(consumer.Retention), events(r.NewlyExpired), printable(name)))
			if err != nil {
				return err
			}
		}
		if _, err := s.queries.ConsumerSetRetention(ctx, s.conn, db.ConsumerSetRetentionParams{Name: name, Retention: retention}); err != nil {
			return fmt.Errorf("set the retention: %w", err)
		}

		return a.print(r)
	})
}

// newlyExpired counts the events that are expired by another retention but not by today's.
func (s *store) newlyExpired(ctx context.Context, consumer db.Consumer, retention time.Duration) (int64, error) {
	var counts [2]int64
	for i, maxAge := range []time.Duration{retention, consumer.Retention} {
		var err error
		counts[i], err = s.queries.EventCountOlder(ctx, s.conn, db.EventCountOlderParams{ConsumerID: consumer.ID, MaxAge: maxAge})
		if err != nil {
			return 0, fmt.Errorf("count the events that would expire: %w", err)
		}
	}

	return max(0, counts[0]-counts[1]), nil
}
