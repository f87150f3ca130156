// Package topics finds the topics that a consumer consumes, whatever its Kafka client is.
package topics

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/internal/engine"
	"github.com/nova-events/idempotent-consumer/internal/onceper"
	"github.com/nova-events/idempotent-consumer/internal/settings"
)

// Topic is what a broker says of a topic.
type Topic struct {
	Name     string
	ID       uuid.UUID // tells it from another topic of that name, before or after
	Internal bool      // one of Kafka's own
	Err      error     // why nothing more is known

	Partitions int     // how many it has
	Leaders    []int32 // brokers, by partition, -1 if there is none; nil if the client finds them by itself
}

// Same reports whether two are the same topic with as many partitions.
func (t Topic) Same(other Topic) bool {
	return t.Name == other.Name && t.ID == other.ID && t.Partitions == other.Partitions
}

// Cluster is what a broker says of its cluster.
type Cluster struct {
	ID     string
	Topics []Topic
}

// Ask asks a broker for its cluster and the topics of these names, or with none for all that the user may see.
type Ask func(ctx context.Context, names ...string) (Cluster, error)

// Client is what an adapter knows of the errors of its Kafka client.
type Client struct {
	Adapter string // its name, with which the messages of the log begin

	Missing   error            // the error of a topic that does not exist
	IsMissing func(error) bool // whether an error says that a topic or a partition does not exist

	Fatal func(error) error // returns what ends the consumer because no retry can heal the error, or nil
}

// Finder finds the topics of a configuration.
type Finder struct {
	source settings.Source
	suffix string // of topics for dead letters, or ""
	client Client
	log    *slog.Logger

	waiting func(reason error) // called with each try that fails

	leftOut onceper.Limit // when it was last told that topics are left out
}

// NewFinder returns a finder. Copies of dead letters go to topics with that suffix; with "" there are none. While Await
// waits it says by waiting for what.
func NewFinder(source settings.Source, suffix string, client Client, log *slog.Logger, waiting func(reason error)) *Finder {
	return &Finder{source: source, suffix: suffix, client: client, log: log, waiting: waiting}
}

// Find returns the topics in the order of their names, or an error if any is missing.
func (f *Finder) Find(ctx context.Context, ask Ask) (Cluster, error) {
	found, err := f.Look(ctx, ask)
	if err != nil {
		return Cluster{}, err
	}
	if len(found.Topics) == 0 {
		return Cluster{}, fmt.Errorf("%w: none matches %v", f.client.Missing, f.source.TopicPattern)
	}
	for _, t := range found.Topics {
		if t.Err != nil {
			return Cluster{}, fmt.Errorf("topic %q: %w", t.Name, t.Err)
		}
	}
	slices.SortFunc(found.Topics, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })

	return found, nil
}

// Look returns the topics to consume. Those that are named and missing have an error.
func (f *Finder) Look(ctx context.Context, ask Ask) (Cluster, error) {
	found, err := ask(ctx, f.source.Topics...)
	if err != nil {
		return Cluster{}, err
	}
	if pattern := f.source.TopicPattern; pattern != nil {
		found.Topics = slices.DeleteFunc(found.Topics, func(t Topic) bool {
			return t.Internal || !pattern.MatchString(t.Name) || f.suffix != "" && strings.HasSuffix(t.Name, f.suffix)
		})
	}
	if f.suffix == "" || len(found.Topics) == 0 { // To ask for no names is to ask for all.
		return found, nil
	}

	return f.checkDeadLetterTopics(ctx, ask, found)
}

// checkDeadLetterTopics checks that topics have one for their dead letters. One that was found by a pattern and has
// none is left out.
func (f *Finder) checkDeadLetterTopics(ctx context.Context, ask Ask, found Cluster) (Cluster, error) {
	others, err := ask(ctx, f.DeadLetterTopics(Names(found.Topics))...)
	if err != nil {
		return Cluster{}, err
	}
	missing := make(map[string]error)
	for _, t := range others.Topics {
		if t.Err != nil {
			missing[t.Name] = t.Err
		}
	}
	var leftOut, kept []Topic
	for _, t := range found.Topics {
		reason := missing[t.Name+f.suffix]
		switch {
		case reason == nil || t.Err != nil:
			kept = append(kept, t)
		case f.source.TopicPattern != nil:
			leftOut = append(leftOut, t)
		default:
			t.Err = fmt.Errorf("its topic for dead letters %q: %w", t.Name+f.suffix, reason)
			kept = append(kept, t)
		}
	}
	found.Topics = kept
	if len(leftOut) > 0 && f.leftOut.Due(time.Minute) {
		const enough = 10
		f.log.WarnContext(ctx, f.client.Adapter+": topics left out because their topics for dead letters are missing",
			"topics", Names(leftOut[:min(len(leftOut), enough)]), "count", len(leftOut), "suffix", f.suffix)
	}

	return found, nil
}

// DeadLetterTopics are the names of the topics for the dead letters of others; none if there are to be none.
func (f *Finder) DeadLetterTopics(topics []string) []string {
	if f.suffix == "" {
		return nil
	}
	names := make([]string, len(topics))
	for i, name := range topics {
		names[i] = name + f.suffix
	}

	return names
}

// Names are those of topics.
func Names(topics []Topic) []string {
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Name
	}

	return names
}

// Together are topics in which a group begins together.
func Together(all ...Topic) []engine.Topic {
	together := make([]engine.Topic, len(all))
	for i, t := range all {
		together[i] = engine.Topic{Name: t.Name, ID: t.ID, Partitions: t.Partitions}
	}

	return together
}
