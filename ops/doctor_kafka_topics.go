package ops

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// usualOffsetsRetention is Kafka's default.
const usualOffsetsRetention = 7 * readable.Day

// eachTopic calls fn for the topics of the consumers.
func (d *doctor) eachTopic(fn func(c groupConsumer, name string, topic TopicFacts)) {
	for _, c := range d.here() {
		for _, name := range c.topics() {
			fn(c, name, d.kafka.facts.Topics[name])
		}
	}
}

func topicSubject(c groupConsumer, topic string) string {
	return consumerSubject(c.Name) + ", topic " + readable.Name(topic)
}

func (d *doctor) findMissingTopics(context.Context) error {
	d.eachTopic(func(c groupConsumer, name string, topic TopicFacts) {
		switch {
		case topic.Missing:
			d.add("topic-missing", SeverityProblem, topicSubject(c, name), "the cluster has no such topic",
				"Find out who deleted it. A topic that is made anew is another log: the consumer stops at it and says what to do. If nobody needs it any more, the service should not name it.",
				fmt.Sprintf("kafka-topics.sh --bootstrap-server … --create --topic %s --partitions %d", readable.ShellWord(name), max(1, len(c.checkpoints[name]))))
		case topic.Err != nil:
			d.add("topic-missing", SeverityUnknown, topicSubject(c, name), "it could not be asked: "+topic.Err.Error(), "Give the user of --brokers the right DESCRIBE on the topic.")
		}
	})

	return nil
}

// findTopicSettings looks at what decides for how long records come again, and whether they can be lost.
func (d *doctor) findTopicSettings(context.Context) error {
	d.eachTopic(func(c groupConsumer, name string, topic TopicFacts) {
		subject := topicSubject(c, name)
		switch {
		case topic.Missing || topic.Err != nil:
			return
		case topic.Settings == nil:
			for _, id := range []string{"topic-retention", "topic-durability", "unclean-election"} {
				d.add(id, SeverityUnknown, subject, "its settings could not be asked", "Give the user of --brokers the right DESCRIBE_CONFIGS on the topic.")
			}

			return
		}
		alter := func(setting string) string {
			return fmt.Sprintf("kafka-configs.sh --bootstrap-server … --alter --entity-type topics --entity-name %s --add-config %s", readable.ShellWord(name), setting)
		}
		d.findTopicRetention(c, name, topic, alter)
		d.findTopicDurability(subject, topic, alter)
		if topic.Settings["unclean.leader.election.enable"] == "true" {
			d.add("unclean-election", SeverityWarning, subject, "unclean.leader.election.enable is true", "Switch it off.", alter("unclean.leader.election.enable=false"))
		}
	})

	return nil
}

func (d *doctor) findTopicRetention(c groupConsumer, name string, topic TopicFacts, alter func(string) string) {
	if !d.claims[c.Name] {
		return // It keeps no event ids that could be forgotten.
	}
	subject, kept := topicSubject(c, name), c.Retention.Duration()
	ms, err := strconv.ParseInt(topic.Settings["retention.ms"], 10, 64)
	if err != nil {
		d.add("topic-retention", SeverityUnknown, subject, "its retention.ms is "+readable.Name(topic.Settings["retention.ms"]), "Find out for how long it keeps records.")

		return
	}
	if ms < 0 || !strings.Contains(topic.Settings["cleanup.policy"], "delete") || ms > math.MaxInt64/int64(time.Millisecond) {
		d.add("topic-retention", SeverityWarning, subject, "it keeps records without end, and event ids are remembered for "+readable.Duration(kept),
			"Let the topic keep records for a shorter time than that, or know that records can come back whose event ids are forgotten.",
			alter(fmt.Sprintf("cleanup.policy=delete,retention.ms=%d", (kept*9/10).Milliseconds())))

		return
	}
	if records := time.Duration(ms) * time.Millisecond; records > kept {
		d.add("topic-retention", SeverityWarning, subject, fmt.Sprintf("it keeps records for %s, and event ids are remembered for %s only", readable.Duration(records), readable.Duration(kept)),
			"Remember event ids for longer, here and in Config.Retention of the service.",
			"idemctl consumer set-retention"+d.schemaFlag()+" "+readable.ShellWord(c.Name)+" "+readable.Duration((records+readable.Day).Truncate(time.Second)))
	}
}

func (d *doctor) findTopicDurability(subject string, topic TopicFacts, alter func(string) string) {
	var replicas []int
	for _, p := range topic.Partitions {
		replicas = append(replicas, p.Replicas)
	}
	if len(replicas) == 0 {
		return
	}
	switch fewest := slices.Min(replicas); {
	case fewest < 2:
		d.add("topic-durability", SeverityWarning, subject, "it has partitions with one replica", "Give its partitions three replicas (kafka-reassign-partitions.sh).")
	case topic.Settings["min.insync.replicas"] == "1":
		d.add("topic-durability", SeverityWarning, subject, fmt.Sprintf("min.insync.replicas is 1, of %d replicas", fewest),
			"Raise it to 2, and have producers wait for all replicas in sync (acks=all). Then a partition with two replicas cannot be written while one is away.", alter("min.insync.replicas=2"))
	}
}

// findOffsetsRetention looks for consumers without checkpoints: their offsets are in Kafka alone.
func (d *doctor) findOffsetsRetention(context.Context) error {
	kept := d.kafka.facts.OffsetsRetention
	for _, c := range d.here() {
		for topic := range c.group.Offsets {
			switch {
			case len(c.checkpoints[topic]) > 0:
				continue
			case kept == 0:
				d.add("offsets-retention", SeverityUnknown, groupSubject(c), "the brokers' offsets.retention.minutes could not be asked", "Give the user of --brokers the right DESCRIBE_CONFIGS on the cluster.")
			case kept < usualOffsetsRetention:
				d.add("offsets-retention", SeverityWarning, groupSubject(c), fmt.Sprintf("the brokers forget its offsets %s after its members have left (offsets.retention.minutes), and it has no checkpoints for %s", readable.Duration(kept), readable.Name(topic)),
					"Raise it in the brokers' configuration and restart them, or use a mode with checkpoints.", fmt.Sprintf("offsets.retention.minutes=%d", int64(usualOffsetsRetention.Minutes())))
			default:
				continue
			}

			break
		}
	}

	return nil
}
