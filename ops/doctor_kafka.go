package ops

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/offsetmark"
	"github.com/nova-events/idempotent-consumer/internal/readable"
)

const unreachable = "kafka-unreachable"

// kafkaSeen is what Kafka and the tables say of the consumers that belong to a group of the cluster.
type kafkaSeen struct {
	facts     KafkaFacts
	consumers []groupConsumer
}

// groupConsumer is a consumer with its group.
type groupConsumer struct {
	Consumer

	group       GroupFacts
	checkpoints map[string]map[int32]db.DoctorCheckpointsRow // by topic and partition
}

// topics are those that the consumer has a checkpoint or its group an offset for.
func (c groupConsumer) topics() []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(c.checkpoints)), maps.Keys(c.group.Offsets))
	slices.Sort(all)

	return slices.Compact(all)
}

func (d *doctor) kafkaChecks() []check {
	if d.opts.Kafka == nil {
		return nil
	}
	checks := []check{{ids: []string{unreachable}, find: d.reachKafka, tables: true}}
	if d.kafka == nil {
		return checks
	}

	return append(checks,
		check{ids: []string{"group-elsewhere"}, find: d.findElsewhere},
		check{ids: []string{"group-empty", "group-protocol"}, find: d.findGroups},
		check{ids: []string{"topic-missing"}, find: d.findMissingTopics},
		check{ids: []string{"topic-retention", "topic-durability", "unclean-election"}, find: d.findTopicSettings},
		check{ids: []string{"offsets-retention"}, find: d.findOffsetsRetention},
		check{ids: []string{"offset-ahead", "offset-behind", "checkpoint-gone", "checkpoint-out-of-range"}, find: d.findOffsets},
		check{ids: []string{"checkpoint-stuck"}, find: d.findStuck},
	)
}

// lookAtKafka asks Kafka about the groups to which consumers belong. Its offsets are asked first: the
// checkpoints are never behind them unless the database has lost something.
func (d *doctor) lookAtKafka(ctx context.Context) error {
	if d.opts.Kafka == nil || !d.hasTables() {
		return nil
	}
	consumers, err := d.Consumers(ctx)
	if err != nil {
		return err
	}
	before, err := d.queries.DoctorCheckpoints(ctx, d.conn)
	if err != nil {
		return err
	}
	var groups, topics []string
	for _, c := range consumers {
		if c.Group != nil {
			groups = append(groups, *c.Group)
		}
	}
	for _, row := range before {
		topics = append(topics, row.Topic)
	}
	slices.Sort(groups)
	slices.Sort(topics)
	facts, err := d.opts.Kafka(ctx, slices.Compact(groups), slices.Compact(topics))
	if err != nil {
		d.kafkaErr = err

		return ctx.Err()
	}
	checkpoints, err := d.checkpointsByPlace(ctx)
	if err != nil {
		return err
	}
	d.kafka = &kafkaSeen{facts: facts}
	for _, c := range consumers {
		if c.Group != nil {
			d.kafka.consumers = append(d.kafka.consumers, newGroupConsumer(c, facts.Groups[*c.Group], checkpoints[c.Name]))
		}
	}

	return nil
}

// newGroupConsumer leaves out the checkpoints that the consumer has had before it went on without (ByEventID).
func newGroupConsumer(c Consumer, group GroupFacts, checkpoints map[string]map[int32]db.DoctorCheckpointsRow) groupConsumer {
	for topic, partitions := range checkpoints {
		maps.DeleteFunc(partitions, func(number int32, _ db.DoctorCheckpointsRow) bool {
			return offsetmark.HasNoToken(group.Offsets[topic][number].Metadata)
		})
	}

	return groupConsumer{Consumer: c, group: group, checkpoints: checkpoints}
}

// checkpointsByPlace are the checkpoints by consumer, topic and partition.
func (d *doctor) checkpointsByPlace(ctx context.Context) (map[string]map[string]map[int32]db.DoctorCheckpointsRow, error) {
	rows, err := d.queries.DoctorCheckpoints(ctx, d.conn)
	all := make(map[string]map[string]map[int32]db.DoctorCheckpointsRow)
	for _, row := range rows {
		if all[row.Consumer] == nil {
			all[row.Consumer] = make(map[string]map[int32]db.DoctorCheckpointsRow)
		}
		if all[row.Consumer][row.Topic] == nil {
			all[row.Consumer][row.Topic] = make(map[int32]db.DoctorCheckpointsRow)
		}
		all[row.Consumer][row.Topic][row.Partition] = row
	}

	return all, err
}

// members reports whether a consumer is known to have members in its group.
func (s *kafkaSeen) members(consumer string) bool {
	return s != nil && slices.ContainsFunc(s.consumers, func(c groupConsumer) bool { return c.Name == consumer && c.group.Members > 0 })
}

func (d *doctor) reachKafka(context.Context) error {
	switch {
	case d.kafkaErr != nil:
		d.add(unreachable, SeverityUnknown, "brokers", d.kafkaErr.Error(), "See whether this machine reaches the brokers, and whether they want TLS or SASL.")
	case len(d.kafka.consumers) == 0:
		d.add(unreachable, SeverityUnknown, "brokers", "no consumer belongs to a group, so there is nothing to ask",
			"The first run of a consumer's service binds it to its group.", "idemctl consumer list"+d.schemaFlag())
	}

	return nil
}

// here are the consumers whose group belongs to this cluster.
func (d *doctor) here() []groupConsumer {
	return slices.DeleteFunc(slices.Clone(d.kafka.consumers), func(c groupConsumer) bool { return *c.Cluster != d.kafka.facts.ClusterID })
}

func (d *doctor) findElsewhere(context.Context) error {
	for _, c := range d.kafka.consumers {
		if *c.Cluster != d.kafka.facts.ClusterID {
			d.add("group-elsewhere", SeverityProblem, consumerSubject(c.Name),
				fmt.Sprintf("its group %s is of the cluster %s, and the brokers are of %s", readable.Name(*c.Group), readable.Name(*c.Cluster), readable.Name(d.kafka.facts.ClusterID)),
				"Name the brokers of that cluster. If the group has moved for good, stop the former one and let the consumer belong to the new one.",
				"idemctl consumer rebind"+d.schemaFlag()+" "+readable.ShellWord(c.Name)+" --cluster "+readable.ShellWord(d.kafka.facts.ClusterID)+" --group "+readable.ShellWord(*c.Group))
		}
	}

	return nil
}

func groupSubject(c groupConsumer) string { return "group " + readable.Name(*c.Group) }

func (d *doctor) findGroups(context.Context) error {
	for _, c := range d.here() {
		subject, lag := groupSubject(c), d.lag(c)
		switch g := c.group; {
		case g.Err != nil:
			d.add("group-empty", SeverityUnknown, subject, "it could not be asked: "+g.Err.Error(), "Give the user of --brokers the right DESCRIBE on the group.")
		case g.MembersHidden != "":
			d.add("group-empty", SeverityUnknown, subject, g.MembersHidden, "Ask Kafka's own tool.", "kafka-consumer-groups.sh --bootstrap-server … --describe --members --group "+readable.ShellWord(*c.Group))
		case g.Members > 0 && g.ProtocolType != "consumer": // Without members anybody can join.
			d.add("group-protocol", SeverityProblem, subject, "its members are no consumers; their protocol type is "+readable.Name(g.ProtocolType),
				"Stop those members, or give the consumer's service another group.")
		case g.Members == 0 && lag > 0:
			d.add("group-empty", SeverityProblem, subject, fmt.Sprintf("it is %s and has no members, and %s wait", g.State, readable.Plural(lag, "record")), "Start the consumer's service.")
		case g.Members == 0:
			d.add("group-empty", SeverityWarning, subject, "it is "+g.State+" and has no members; no record waits", "Start the consumer's service, if it should run.")
		default:
			d.ok("group-empty", subject, fmt.Sprintf("%s with %s by %s, %s behind the checkpoints", g.State, readable.Plural(int64(g.Members), "member"), readable.Name(g.Protocol), readable.Plural(lag, "record")))
		}
	}

	return nil
}

// lag is how many records wait, as far as is known. A partition without a checkpoint counts from the group's offset.
func (d *doctor) lag(c groupConsumer) (lag int64) {
	for _, topic := range c.topics() {
		for number, p := range d.kafka.facts.Topics[topic].Partitions {
			next := p.First
			if o, committed := c.group.Offsets[topic][number]; committed {
				next = max(next, o.Next)
			}
			if checkpoint, known := c.checkpoints[topic][number]; known {
				next = max(p.First, checkpoint.NextOffset)
			}
			if p.Err == nil {
				lag += max(0, p.End-next)
			}
		}
	}

	return lag
}

// findOffsets compares the group's offsets, and the ends of the logs, with the checkpoints.
func (d *doctor) findOffsets(context.Context) error {
	for _, c := range d.here() {
		for _, topic := range c.topics() {
			numbers := slices.AppendSeq(slices.Collect(maps.Keys(c.checkpoints[topic])), maps.Keys(c.group.Offsets[topic]))
			slices.Sort(numbers)
			for _, number := range slices.Compact(numbers) {
				d.findOffset(c, topic, number)
			}
		}
	}

	return nil
}

func (d *doctor) findOffset(c groupConsumer, topic string, number int32) {
	subject := partitionSubject(c.Name, topic, number)
	checkpoint, known := c.checkpoints[topic][number]
	committed, there := c.group.Offsets[topic][number]
	token := offsetmark.HasToken(committed.Metadata)
	reset := func(to int64) string { return d.checkpointCommand("reset", c.Name, topic, number, "to", to) }
	seen := fmt.Sprintf("the group is at %d, the checkpoint at %d", committed.Next, checkpoint.NextOffset)
	switch {
	case there && token && !known:
		d.add("checkpoint-gone", SeverityProblem, subject, fmt.Sprintf("the group is at %d and was so by a checkpoint, and there is none", committed.Next),
			"Find out whether these are other tables than before (schema, database, restore, a rename). To trust the group's offset, have no member running and set it anew, which removes the mark.",
			fmt.Sprintf("kafka-consumer-groups.sh --bootstrap-server … --group %s --topic %s --reset-offsets --to-current --execute", readable.ShellWord(*c.Group), readable.ShellWord(fmt.Sprintf("%s:%d", topic, number))))
	case !known || !there:
	case committed.Next > checkpoint.NextOffset && token && offsetmark.Epoch(committed.Metadata) >= checkpoint.ResetEpoch:
		d.add("offset-ahead", SeverityProblem, subject, seen+": the database has lost commits",
			"Start the consumer's service, or leave it running: it reads again from the checkpoint, and each record takes effect once. Then repeat what operators did in the lost time.")
	case committed.Next > checkpoint.NextOffset && !token:
		d.add("offset-ahead", SeverityWarning, subject, seen+": somebody has moved the group forward",
			"The next start obeys: the records between are never processed. If that is not meant, move the group back before.",
			fmt.Sprintf("kafka-consumer-groups.sh --bootstrap-server … --group %s --topic %s --reset-offsets --to-offset %d --execute", readable.ShellWord(*c.Group), readable.ShellWord(fmt.Sprintf("%s:%d", topic, number)), checkpoint.NextOffset))
	case committed.Next < checkpoint.NextOffset && !token:
		d.add("offset-behind", SeverityWarning, subject, seen+": somebody has moved the group back, which has no effect",
			"To process the records again set the checkpoint back. If that is not meant, do nothing: the next commit of the consumer puts it right.", reset(committed.Next))
	}
	d.findOutOfRange(c, topic, number, reset)
}

// findOutOfRange compares a checkpoint with the ends of its log.
func (d *doctor) findOutOfRange(c groupConsumer, topic string, number int32, reset func(to int64) string) {
	subject := partitionSubject(c.Name, topic, number)
	checkpoint, known := c.checkpoints[topic][number]
	p, there := d.kafka.facts.Topics[topic].Partitions[number]
	switch {
	case !known || !there || p.Err != nil:
	case checkpoint.NextOffset < p.First:
		d.add("checkpoint-out-of-range", SeverityProblem, subject, fmt.Sprintf("the checkpoint is at %d, and the log begins at %d: %s expired unread", checkpoint.NextOffset, p.First, readable.Plural(p.First-checkpoint.NextOffset, "record")),
			"Get the records from elsewhere if they matter. Then set the checkpoint to the log's beginning.", reset(p.First))
	case checkpoint.NextOffset > p.End:
		d.add("checkpoint-out-of-range", SeverityProblem, subject, fmt.Sprintf("the checkpoint is at %d, and the log ends at %d: it was truncated, or the topic was made anew", checkpoint.NextOffset, p.End),
			"Find out which. To process all that the log holds now, set the checkpoint to its beginning.", reset(p.First))
	}
}

// findStuck looks at checkpoints twice.
func (d *doctor) findStuck(ctx context.Context) error {
	if !slices.ContainsFunc(d.here(), func(c groupConsumer) bool { return c.group.Members > 0 && d.lag(c) > 0 }) {
		return nil
	}
	if !backoff.Sleep(ctx, d.opts.Watch) {
		return ctx.Err()
	}
	after, err := d.checkpointsByPlace(ctx)
	if err != nil {
		return err
	}
	for _, c := range d.here() {
		for _, topic := range slices.Sorted(maps.Keys(c.checkpoints)) {
			for _, number := range slices.Sorted(maps.Keys(c.checkpoints[topic])) {
				before, p := c.checkpoints[topic][number], d.kafka.facts.Topics[topic].Partitions[number]
				if c.Pause == nil && c.group.Members > 0 && p.Err == nil && p.End > before.NextOffset && after[c.Name][topic][number].NextOffset == before.NextOffset {
					d.add("checkpoint-stuck", SeverityWarning, partitionSubject(c.Name, topic, number),
						fmt.Sprintf("it stands at %d for %v although the group has members and %s wait", before.NextOffset, d.opts.Watch, readable.Plural(p.End-before.NextOffset, "record")),
						"See the service's log: it says once a minute why a partition waits (a slow handler, the breaker, the pool, another transaction). Run this again to see whether it lasts.")
				}
			}
		}
	}

	return nil
}
