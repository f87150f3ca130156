package franzadapter

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/internal/topics"
)

// ask asks a broker for its cluster and the topics of these names, or with none for all that the user
// may see.
func ask(ctx context.Context, client *kgo.Client, names ...string) (topics.Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request := kmsg.NewPtrMetadataRequest()
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = new(name)
		request.Topics = append(request.Topics, t)
	}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return topics.Cluster{}, fmt.Errorf("ask for the topics: %w", err)
	}
	var c topics.Cluster
	if response.ClusterID != nil {
		c.ID = *response.ClusterID
	}
	for _, found := range response.Topics {
		t := topics.Topic{
			ID: found.TopicID, Internal: found.IsInternal, Err: kerr.ErrorForCode(found.ErrorCode),
			Partitions: len(found.Partitions), Leaders: make([]int32, len(found.Partitions)),
		}
		if found.Topic != nil {
			t.Name = *found.Topic
		}
		for _, p := range found.Partitions {
			if int(p.Partition) < 0 || int(p.Partition) >= len(t.Leaders) {
				t.Err = kerr.UnknownTopicOrPartition // Some of its partitions are left out.

				break
			}
			t.Leaders[p.Partition] = p.Leader
		}
		c.Topics = append(c.Topics, t)
	}

	return c, nil
}

// ask asks for topics, and says what it may mean if the connection fails.
func (m *member) ask(ctx context.Context, names ...string) (topics.Cluster, error) {
	found, err := ask(ctx, m.client, names...)

	return found, m.explained(err)
}

// client is what package topics has to know of franz-go.
var client = topics.Client{Adapter: "franzadapter", Missing: kerr.UnknownTopicOrPartition, IsMissing: unknownTopic, Fatal: fatal}
