package franzadapter

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/engine"
	"github.com/nova-events/idempotent-consumer/internal/topics"
)

// view is what this member knows of its topics. It looks again every few seconds, and when somebody
// has found it to be out of date.
type view struct {
	latest atomic.Pointer[look]
	wake   chan struct{}
}

// look is what was found at one time. superseded is closed when there is a newer one.
type look struct {
	byName     map[string]topics.Topic
	superseded chan struct{}
}

func newView(all []topics.Topic) *view {
	v := &view{wake: make(chan struct{}, 1)}
	v.latest.Store(newLook(all))

	return v
}

func newLook(all []topics.Topic) *look {
	l := &look{byName: make(map[string]topics.Topic, len(all)), superseded: make(chan struct{})}
	for _, one := range all {
		l.byName[one.Name] = one
	}

	return l
}

// stale has the view look again, soon.
func (v *view) stale() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// topic returns the topic of an assigned partition when it is known. With renewed it asks the broker
// again.
func (v *view) topic(ctx context.Context, p partition, renewed bool) (topics.Topic, bool) {
	for {
		latest := v.latest.Load()
		if t, ok := latest.byName[p.topic]; ok && !renewed && int(p.number) < len(t.Leaders) {
			return t, true
		}
		v.stale()
		select {
		case <-latest.superseded:
			renewed = false
		case <-ctx.Done():
			return topics.Topic{}, false
		}
	}
}

// leader returns the broker that leads a partition, or an error.
func (v *view) leader(p partition) (int32, error) {
	t, ok := v.latest.Load().byName[p.topic]
	switch {
	case !ok || int(p.number) >= len(t.Leaders):
		return 0, kerr.UnknownTopicOrPartition
	case t.Leaders[p.number] < 0:
		return 0, kerr.LeaderNotAvailable
	default:
		return t.Leaders[p.number], nil
	}
}

// watch looks until ctx ends. It has the client consume what is new and forget what is gone.
func (m *member) watch(ctx context.Context) {
	missing := make(map[string]time.Time)
	timer := time.NewTimer(firstTopicWatch)
	defer timer.Stop()
	for failed := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-m.view.wake:
		}
		found, err := m.consumer.topics.Look(ctx, m.ask)
		if err != nil {
			failed++
			if since, due := m.unseen.Lasts(time.Minute); due && ctx.Err() == nil {
				m.log.WarnContext(ctx, "franzadapter: topics could not be read, trying again", "since", since, "error", err)
			}
			backoff.Sleep(ctx, engine.RetryPauses.Pause(failed))
			m.view.stale()

			continue
		}
		failed = 0
		if lasted, told := m.unseen.Passed(); told {
			m.log.InfoContext(ctx, "franzadapter: topics are read again", "after", lasted)
		}
		m.update(found.Topics)
		again := m.judgeMissing(missing, found.Topics)
		backoff.Sleep(ctx, metadataMinAge) // However many find it out of date.
		timer.Reset(again)
	}
}

// judgeMissing ends Run if a topic that Config names has been missing for TopicGrace, and returns when to look again.
// A fetch from it ends Run, too, unless the group has taken its partitions away. missing says since when topics are.
func (m *member) judgeMissing(missing map[string]time.Time, all []topics.Topic) time.Duration {
	grace := m.consumer.config.TopicGrace
	for _, t := range all {
		if t.Partitions > 0 || !unknownTopic(t.Err) {
			delete(missing, t.Name)
		} else if since, ok := missing[t.Name]; !ok {
			missing[t.Name] = time.Now()
		} else if time.Since(since) > grace {
			m.fail(fmt.Errorf("%w: topic %q: %w", consume.ErrUnknownTopic, t.Name, t.Err))
		}
	}
	if len(missing) == 0 {
		return topicWatchInterval
	}

	return min(topicWatchInterval, grace)
}

// update stores the latest answer. A topic that Config names and that is missing stays as it was: a
// fetch from it finds out.
func (m *member) update(all []topics.Topic) {
	former, latest := m.view.latest.Load(), newLook(all)
	for name, t := range latest.byName {
		if before, ok := former.byName[name]; ok && t.Err != nil {
			latest.byName[name] = before
		}
	}
	var added, gone []string
	changed := false
	for name, t := range latest.byName {
		before, ok := former.byName[name]
		if !ok {
			added = append(added, name)
		}
		changed = changed || len(before.Leaders) != len(t.Leaders)
	}
	for name := range former.byName {
		if _, ok := latest.byName[name]; !ok {
			gone = append(gone, name)
		}
	}
	m.view.latest.Store(latest)
	close(former.superseded)
	m.restartRecreated(latest)
	m.client.AddConsumeTopics(added...)
	if len(gone) > 0 {
		m.client.PurgeTopicsFromConsuming(gone...)
	}
	if changed {
		m.client.ForceMetadataRefresh() // The group's leader is to see it, too.
	}
}
