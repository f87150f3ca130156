package ops

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// fewStarts is how many owners may begin with one record: each that is killed or that ends without a word
// counts, for whatever reason.
const fewStarts = 2

func (d *doctor) consumerChecks() []check {
	return []check{
		{ids: []string{"consumer-closed"}, find: d.findClosed, tables: true},
		{ids: []string{"consumer-unknown"}, find: d.findUnknown, tables: true},
		{ids: []string{"consumer-paused"}, find: d.findPaused, tables: true},
		{ids: []string{"expired-events", "unused-room", "consumer-quiet"}, find: d.findEvents, tables: true},
		{ids: []string{"dead-letter-forgotten"}, find: d.findDeadLetters, tables: true},
		{ids: []string{"leases-undecided"}, find: d.findLeases, tables: true},
		{ids: []string{"outbox-lag", "outbox-failed"}, find: d.findOutbox, tables: true},
		{ids: []string{"partition-unowned", "record-kills"}, find: d.findCheckpoints, tables: true},
		{ids: []string{"connections-needed"}, find: d.findConnectionsNeeded, tables: true},
	}
}

func consumerSubject(name string) string { return "consumer " + readable.Name(name) }

func partitionSubject(consumer, topic string, partition int32) string {
	return consumerSubject(consumer) + ", " + readable.Name(topic) + "/" + decimal(partition)
}

// findClosed finds what a rename or a delete has left behind.
func (d *doctor) findClosed(ctx context.Context) error {
	consumers, err := d.Consumers(ctx)
	for _, c := range consumers {
		if c.Closed == nil {
			continue
		}
		again := "idemctl consumer delete" + d.schemaFlag() + " " + readable.ShellWord(c.Name)
		if to, renamed := strings.CutPrefix(*c.Closed, renamedTo); renamed {
			again = "idemctl consumer rename" + d.schemaFlag() + " " + readable.ShellWord(c.Name) + " " + readable.ShellWord(to)
		} else if from, renamed := strings.CutPrefix(*c.Closed, renamedFrom); renamed {
			again = "idemctl consumer rename" + d.schemaFlag() + " " + readable.ShellWord(from) + " " + readable.ShellWord(c.Name)
		}
		d.add("consumer-closed", SeverityProblem, consumerSubject(c.Name), "it is being "+readable.Name(*c.Closed)+", or that was broken off",
			"If nobody is at it, run the same command again: it goes on where it ended.", again)
	}

	return err
}

// findUnknown finds events whose consumer was renamed or deleted while a service of it had nothing to do. Its name is not known.
func (d *doctor) findUnknown(ctx context.Context) error {
	const most = 10_000
	unknown, err := d.queries.DoctorUnknownConsumers(ctx, d.conn, most)
	for _, u := range unknown {
		seen := readable.Events(u.Events) + " and " + readable.Plural(u.Leases, "lease")
		if u.Events == most || u.Leases == most {
			seen += ", or more"
		}
		var commands []string
		for _, table := range []string{"leases", "results", "dead_letters", "processed_events"} {
			commands = append(commands, "DELETE FROM "+d.table(table)+" WHERE consumer_id = "+decimal(u.ID)+";")
		}
		d.add("consumer-unknown", SeverityWarning, "consumer id "+decimal(u.ID), seen,
			"Restart the service: after a rename with the new name, after a deletion with the old one, which registers it. If nobody needs these events, delete them.", commands...)
	}

	return err
}

// findPaused finds what an operator may have forgotten to resume.
func (d *doctor) findPaused(ctx context.Context) error {
	consumers, err := d.Consumers(ctx)
	for _, c := range consumers {
		if c.Pause != nil {
			d.add("consumer-paused", SeverityWarning, consumerSubject(c.Name), "it is "+c.Pause.String(),
				"Resume it once the reason is gone.", "idemctl consumer resume"+d.schemaFlag()+" "+readable.ShellWord(c.Name))
		}
	}

	return err
}

// findEvents goes by the figures of Status, for which a part of the events is read.
func (d *doctor) findEvents(ctx context.Context) error {
	status, err := d.Status(ctx)
	if err != nil {
		return err
	}
	late := false
	acquired, err := d.lastAcquired(ctx)
	if err != nil {
		return err
	}
	d.claims = make(map[string]bool, len(status.Consumers))
	for _, c := range status.Consumers {
		d.claims[c.Consumer] = c.Events > 0
		if by := c.overdue(status.ReadAt); by > 0 {
			late = true
			d.add("expired-events", SeverityWarning, consumerSubject(c.Consumer), fmt.Sprintf("%s should be forgotten, the oldest since %s", readable.Events(c.Expired), readable.Rough(by)),
				"Run a Cleaner in the service, or this from cron.", "idemctl cleanup"+d.schemaFlag())
		}
		d.findQuiet(c, acquired[c.Consumer], status.ReadAt)
	}
	if !late && status.loose(d.opts.Unused) {
		d.add("unused-room", SeverityWarning, "table processed_events",
			fmt.Sprintf("%s are dead rows and free space, %.0f bytes for each event where %.0f would do", readable.Size(status.UnusedBytes), status.BytesPerEvent, status.PackedBytesPerEvent),
			"New events will use it. If there will not be so many again, rebuild the table and its index, which locks it meanwhile.", "VACUUM (FULL) "+d.table("processed_events")+";")
	}

	return nil
}

// lastAcquired is when each consumer last acquired a partition. Those that have none are left out.
func (d *doctor) lastAcquired(ctx context.Context) (map[string]time.Time, error) {
	rows, err := d.queries.DoctorCheckpoints(ctx, d.conn)
	last := make(map[string]time.Time)
	for _, row := range rows {
		if t := utc(row.AcquiredMicros); t.After(last[row.Consumer]) {
			last[row.Consumer] = t
		}
	}

	return last, err
}

// findQuiet tells of a consumer that has done nothing for long. Whether somebody runs it the tables do not tell.
func (d *doctor) findQuiet(c ConsumerStatus, acquired, now time.Time) {
	last, what := c.CreatedAt, "it was registered"
	if acquired.After(last) {
		last, what = acquired, "it acquired a partition"
	}
	if c.Newest != nil && c.Newest.After(last) {
		last, what = *c.Newest, "it claimed an event"
	}
	if now.Sub(last) <= d.opts.Quiet || d.kafka.members(c.Consumer) {
		return
	}
	if c.Newest == nil && !acquired.IsZero() {
		d.add("consumer-quiet", SeverityUnknown, consumerSubject(c.Consumer), fmt.Sprintf("it keeps checkpoints only, and the last that is known is that %s, %s", what, readable.Ago(last, now)),
			"Ask Kafka too (--brokers), or compare its checkpoints some time apart.", "idemctl checkpoint list"+d.schemaFlag()+" --consumer "+readable.ShellWord(c.Consumer))

		return
	}
	d.add("consumer-quiet", SeverityWarning, consumerSubject(c.Consumer), fmt.Sprintf("the last that is known is that %s, %s", what, readable.Ago(last, now)),
		"Start its service if it should run. If nobody needs it any more, delete it.", "idemctl consumer delete"+d.schemaFlag()+" "+readable.ShellWord(c.Consumer))
}

// findDeadLetters finds those that wait for longer than their event ids are remembered.
func (d *doctor) findDeadLetters(ctx context.Context) error {
	letters, err := d.queries.DoctorDeadLetters(ctx, d.conn)
	if err != nil {
		return err
	}
	consumers, err := d.Consumers(ctx)
	if err != nil {
		return err
	}
	kept := make(map[string]time.Duration, len(consumers))
	for _, c := range consumers {
		kept[c.Name] = c.Retention.Duration()
	}
	for _, l := range letters {
		if age := utc(d.server.ClockMicros).Sub(utc(l.OldestMicros)); age > kept[l.Consumer] {
			d.add("dead-letter-forgotten", SeverityWarning, consumerSubject(l.Consumer),
				fmt.Sprintf("%s unresolved, the oldest for %s; event ids are remembered for %s", readable.Plural(l.Unresolved, "dead letter"), readable.Rough(age), readable.Duration(kept[l.Consumer])),
				"Replay or discard them, the oldest first.", "idemctl deadletter list"+d.schemaFlag()+" --consumer "+readable.ShellWord(l.Consumer))
		}
	}

	return nil
}

// findLeases finds effects about which an operator has to decide.
func (d *doctor) findLeases(ctx context.Context) error {
	undecided, err := d.queries.LeaseUndecided(ctx, d.conn)
	for _, l := range undecided {
		d.add("leases-undecided", SeverityWarning, consumerSubject(l.Consumer),
			fmt.Sprintf("%s may have taken effect or not, the oldest for %s", readable.Events(l.Leases), readable.Rough(utc(d.server.ClockMicros).Sub(utc(l.OldestMicros)))),
			"Look at the other system, then decide about each event (idemctl lease decide --help).",
			"idemctl lease list"+d.schemaFlag()+" --state undecided --consumer "+readable.ShellWord(l.Consumer))
	}

	return err
}

// findCheckpoints says of checkpoints what the tables alone can tell.
func (d *doctor) findCheckpoints(ctx context.Context) error {
	rows, err := d.queries.DoctorCheckpoints(ctx, d.conn)
	if err != nil {
		return err
	}
	for _, c := range rows {
		subject := partitionSubject(c.Consumer, c.Topic, c.Partition)
		if !c.Owned {
			seen := "nobody has acquired it since its checkpoint was reset"
			if c.Epoch == 0 {
				seen = "nobody has ever acquired it; its beginning was noted " + readable.Ago(utc(c.AcquiredMicros), utc(d.server.ClockMicros))
			}
			d.add("partition-unowned", SeverityWarning, subject, seen, "Start the consumer's service. One that runs acquires the partition within seconds: see its log if this stays.")
		}
		if c.Starts >= fewStarts && c.StartedOffset >= c.NextOffset {
			d.add("record-kills", SeverityWarning, subject, fmt.Sprintf("%d owners in a row began with the record at offset %d, and none has come further", c.Starts, c.StartedOffset),
				"See how they ended (memory, panics, kills). After FailureConfig.MaxStarts of them the record becomes a dead letter by itself; this passes over it.", d.passOver(c))
		}
	}

	return nil
}

// passOver is the command that moves a checkpoint behind the record with which the owners began. Only where that is the
// next record can it be skipped, which "idemctl reprocess" undoes.
func (d *doctor) passOver(c db.DoctorCheckpointsRow) string {
	if c.StartedOffset > c.NextOffset {
		return d.checkpointCommand("reset", c.Consumer, c.Topic, c.Partition, "to", c.StartedOffset+1)
	}

	return d.checkpointCommand("skip", c.Consumer, c.Topic, c.Partition, "offset", c.NextOffset)
}

// checkpointCommand is a command about a checkpoint and an offset.
func (d *doctor) checkpointCommand(command, consumer, topic string, partition int32, flag string, offset int64) string {
	return fmt.Sprintf("idemctl checkpoint %s%s --consumer %s --topic %s --partition %d --%s %d",
		command, d.schemaFlag(), readable.ShellWord(consumer), readable.ShellWord(topic), partition, flag, offset)
}

// findOutbox finds records of the outbox that nobody relays, or that Kafka refuses.
func (d *doctor) findOutbox(ctx context.Context) error {
	s, err := d.OutboxStatus(ctx)
	if err != nil {
		return err
	}
	if late := s.late(utc(d.server.ClockMicros)); late > 0 {
		d.add("outbox-lag", SeverityWarning, "outbox", fmt.Sprintf("%s or more, the first for %s", readable.Plural(s.Waiting, "record"), readable.Rough(late)),
			"See whether a relay runs and what its log says.")
	}
	if s.Failed > 0 {
		d.add("outbox-failed", SeverityWarning, "outbox", fmt.Sprintf("%s failed, %s parked behind them", readable.Number(s.Failed), readable.Number(s.Parked)),
			"Mend what Kafka refuses and retry, or discard (idemctl outbox --help).", "idemctl outbox list"+d.schemaFlag()+" --state failed")
	}

	return nil
}
