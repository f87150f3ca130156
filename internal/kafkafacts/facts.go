package kafkafacts

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/describegroups"

	"github.com/nova-events/idempotent-consumer/ops"
)

const (
	dialTimeout    = 5 * time.Second
	requestTimeout = 10 * time.Second
	groupTimeout   = 3 * requestTimeout // for all that is asked about one

	// dead is the state of a group that there is not, and of one that the classic protocol does not see.
	dead = "Dead"
	// empty is that of a group without members.
	empty = "Empty"
)

// settingNames are those of topics that ops.Diagnose looks at.
var settingNames = []string{"retention.ms", "cleanup.policy", "min.insync.replicas", "unclean.leader.election.enable"}

var errNoAnswer = errors.New("the answer does not have it")

// asker asks one cluster.
type asker struct {
	client    *kafka.Client
	transport *kafka.Transport
}

// asker opens connections as it needs them. The caller closes those of its transport.
func (t Target) asker() asker {
	transport := &kafka.Transport{ClientID: "idemctl", DialTimeout: dialTimeout, TLS: t.tls, SASL: t.sasl}

	return asker{client: &kafka.Client{Addr: kafka.TCP(t.brokers...), Timeout: requestTimeout, Transport: transport}, transport: transport}
}

// Facts is an ops.Kafka.
func (t Target) Facts(ctx context.Context, groups, topics []string) (ops.KafkaFacts, error) {
	ask := t.asker()
	defer ask.transport.CloseIdleConnections()
	metadata, err := ask.client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return ops.KafkaFacts{}, fmt.Errorf("ask the brokers: %w", err)
	}
	facts := ops.KafkaFacts{
		ClusterID: metadata.ClusterID, OffsetsRetention: ask.offsetsRetention(ctx, metadata.Brokers),
		Groups: make(map[string]ops.GroupFacts, len(groups)), Topics: make(map[string]ops.TopicFacts),
	}
	names := slices.Clone(topics)
	for _, name := range groups {
		group := ask.group(ctx, name)
		facts.Groups[name] = group
		names = slices.AppendSeq(names, maps.Keys(group.Offsets))
	}
	slices.Sort(names)
	known := make(map[string]kafka.Topic, len(metadata.Topics))
	for _, topic := range metadata.Topics {
		known[topic.Name] = topic
	}
	for _, name := range slices.Compact(names) {
		facts.Topics[name] = ask.topic(ctx, name, known)
	}

	return facts, nil
}

// offsetsRetention is the least of the brokers', 0 if it is not known.
func (a asker) offsetsRetention(ctx context.Context, brokers []kafka.Broker) time.Duration {
	const setting = "offsets.retention.minutes"
	var least time.Duration
	for _, broker := range brokers {
		settings, err := a.settings(ctx, kafka.ResourceTypeBroker, strconv.Itoa(broker.ID), setting)
		if err != nil {
			return 0
		}
		minutes, err := strconv.Atoi(settings[setting])
		if err != nil {
			return 0
		}
		if retention := time.Duration(minutes) * time.Minute; least == 0 || retention < least {
			least = retention
		}
	}

	return least
}

// settings returns those settings of a topic or a broker.
func (a asker) settings(ctx context.Context, kind kafka.ResourceType, name string, settings ...string) (map[string]string, error) {
	response, err := a.client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kind, ResourceName: name, ConfigNames: settings}},
	})
	if err != nil {
		return nil, err
	}
	if len(response.Resources) != 1 {
		return nil, errNoAnswer
	}
	if err := response.Resources[0].Error; err != nil {
		return nil, err
	}
	values := make(map[string]string, len(settings))
	for _, entry := range response.Resources[0].ConfigEntries {
		values[entry.ConfigName] = entry.ConfigValue
	}

	return values, nil
}

// group asks for a group. Its members' own words are not decoded: other clients write what kafka-go cannot read.
func (a asker) group(ctx context.Context, name string) ops.GroupFacts {
	ctx, cancel := context.WithTimeout(ctx, groupTimeout)
	defer cancel()
	response, err := a.transport.RoundTrip(ctx, a.client.Addr, &describegroups.Request{Groups: []string{name}})
	if err != nil {
		return ops.GroupFacts{Err: err}
	}
	described, ok := response.(*describegroups.Response)
	if !ok || len(described.Groups) != 1 {
		return ops.GroupFacts{Err: errNoAnswer}
	}
	group := described.Groups[0]
	if group.ErrorCode != 0 {
		return ops.GroupFacts{Err: kafka.Error(group.ErrorCode)}
	}
	facts := ops.GroupFacts{State: group.GroupState, ProtocolType: group.ProtocolType, Protocol: group.ProtocolData, Members: len(group.Members)}
	if facts.Members == 0 && facts.State != empty && (facts.State != dead || a.isListed(ctx, name)) {
		facts.MembersHidden = "it is a group of KIP-848, whose members the classic protocol does not show"
	}
	facts.Offsets, facts.Err = a.offsets(ctx, name)

	return facts
}

// isListed reports whether there is a group although it looks dead.
func (a asker) isListed(ctx context.Context, name string) bool {
	response, err := a.client.ListGroups(ctx, &kafka.ListGroupsRequest{})

	return err == nil && slices.ContainsFunc(response.Groups, func(g kafka.ListGroupsResponseGroup) bool { return g.GroupID == name })
}

// offsets returns the offsets that a group has committed for all topics.
func (a asker) offsets(ctx context.Context, group string) (map[string]map[int32]ops.CommittedOffset, error) {
	response, err := a.client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group})
	if err == nil {
		err = response.Error
	}
	if errors.Is(err, kafka.GroupIdNotFound) {
		return nil, nil //nolint:nilnil // It has none.
	}
	if err != nil {
		return nil, err
	}
	offsets := make(map[string]map[int32]ops.CommittedOffset, len(response.Topics))
	for topic, partitions := range response.Topics {
		for _, p := range partitions {
			if p.Error != nil {
				return nil, p.Error
			}
			if p.CommittedOffset < 0 {
				continue
			}
			if offsets[topic] == nil {
				offsets[topic] = make(map[int32]ops.CommittedOffset)
			}
			offsets[topic][int32(p.Partition)] = ops.CommittedOffset{Next: p.CommittedOffset, Metadata: p.Metadata} //nolint:gosec // Kafka's own numbers have 32 bits.
		}
	}

	return offsets, nil
}

func (a asker) topic(ctx context.Context, name string, known map[string]kafka.Topic) ops.TopicFacts {
	topic, found := known[name]
	switch {
	case !found || errors.Is(topic.Error, kafka.UnknownTopicOrPartition):
		return ops.TopicFacts{Missing: true}
	case topic.Error != nil:
		return ops.TopicFacts{Err: topic.Error}
	}
	facts := ops.TopicFacts{Partitions: make(map[int32]ops.PartitionFacts, len(topic.Partitions))}
	var requests []kafka.OffsetRequest
	for _, p := range topic.Partitions {
		requests = append(requests, kafka.FirstOffsetOf(p.ID), kafka.LastOffsetOf(p.ID))
		facts.Partitions[int32(p.ID)] = ops.PartitionFacts{Err: errNoAnswer, Replicas: len(p.Replicas)} //nolint:gosec // As above.
	}
	response, err := a.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{name: requests}})
	if err != nil {
		return ops.TopicFacts{Err: err}
	}
	for _, p := range response.Topics[name] {
		number := int32(p.Partition) //nolint:gosec // As above.
		facts.Partitions[number] = ops.PartitionFacts{Err: p.Error, First: p.FirstOffset, End: p.LastOffset, Replicas: facts.Partitions[number].Replicas}
	}
	if settings, err := a.settings(ctx, kafka.ResourceTypeTopic, name, settingNames...); err == nil {
		facts.Settings = settings
	}

	return facts
}
