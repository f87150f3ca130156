package topics

import (
	"context"
	"fmt"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/engine"
	"github.com/nova-events/idempotent-consumer/internal/onceper"
)

// Await returns the topics once all exist, or one at least that matches the pattern. It waits for a cluster that is
// away, and TopicGrace for topics that are missing; then the error wraps consume.ErrUnknownTopic. It returns
// nothing if ctx ends.
func (f *Finder) Await(ctx context.Context, ask Ask) (Cluster, error) {
	deadline := time.Now().Add(f.source.TopicGrace)
	var trouble onceper.Trouble
	for failed := 1; ; failed++ {
		found, err := f.Find(ctx, ask)
		switch {
		case ctx.Err() != nil:
			return Cluster{}, nil //nolint:nilerr // It was told to stop.
		case err == nil:
			if lasted, told := trouble.Passed(); told {
				f.log.InfoContext(ctx, f.client.Adapter+": the topics are there", "waited", lasted)
			}

			return found, nil
		case f.client.IsMissing(err) && time.Now().After(deadline):
			return Cluster{}, fmt.Errorf("%w: %w; create it or correct Config.Topics or TopicPattern", consume.ErrUnknownTopic, err)
		case !f.client.IsMissing(err):
			if err := f.client.Fatal(err); err != nil {
				return Cluster{}, err
			}
			deadline = time.Now().Add(f.source.TopicGrace) // Nobody has said that it is missing.
		}
		f.waiting(err)
		if since, due := trouble.Lasts(time.Minute); due {
			f.log.WarnContext(ctx, f.client.Adapter+": waiting for the topics", "since", since, "error", err)
		}
		backoff.Sleep(ctx, min(time.Second, engine.RetryPauses.Pause(failed)))
	}
}
