package e2e_test

import (
	"context"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/ops"
)

// marked is the metadata of an offset at which a checkpoint stood.
const marked = "idem/1 token=00000000-0000-4000-8000-000000000000 epoch=1"

// Each finding about Kafka is brought about, and gone once its advice is taken.
func TestDoctorExaminesTheGroup(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 2)
		p := newPatient(t, s)
		b.Write(t, s.topic, events(0, 10, 2)...)
		m := s.start(t, nil)
		s.awaitCommitted(t, 10)
		hidden := os.Getenv(envAdapter) == "franz-server" // The classic protocol does not show such a group's members.
		if hidden {
			p.must(t, "group-empty", ops.SeverityUnknown, "KIP-848")
		} else {
			p.must(t, "group-empty", ops.SeverityOK, "Stable with 1 member by")
		}
		p.must(t, "offset-ahead", ops.SeverityOK, "")
		p.must(t, "topic-durability", ops.SeverityWarning, "partitions with one replica")
		p.exec(t, `UPDATE idem.processed_events SET processed_at = now() - interval '30 days'`)
		p.exec(t, `UPDATE idem.checkpoints SET acquired_at = now() - interval '20 days'`)
		p.exec(t, `UPDATE idem.consumers SET created_at = now() - interval '40 days'`)
		if !hidden {
			p.must(t, "consumer-quiet", ops.SeverityOK, "")
		}
		m.leave(t)
		p.must(t, "consumer-quiet", ops.SeverityWarning, "it acquired a partition, 20d ago")

		t.Log("nobody consumes")
		if hidden {
			b.Write(t, s.topic, events(10, 4, 2)...)
			m = s.start(t, nil)
		} else {
			p.must(t, "group-empty", ops.SeverityWarning, "no record waits")
			b.Write(t, s.topic, events(10, 4, 2)...)
			empty := p.must(t, "group-empty", ops.SeverityProblem, "has no members, and 4 records wait")
			m = s.start(t, nil)
			p.cured(t, empty)
		}
		s.awaitCommitted(t, 14)
		m.leave(t)

		t.Log("offsets that somebody has moved")
		move := func(partition int, offset int64, metadata string) {
			if err := p.setOffset(t.Context(), s.topic, partition, offset, metadata); err != nil {
				t.Fatal(err)
			}
		}
		move(0, 8, "")
		p.heal(t, p.must(t, "offset-ahead", ops.SeverityWarning, "the group is at 8, the checkpoint at 7: somebody has moved"))
		move(0, 2, "")
		p.heal(t, p.must(t, "offset-behind", ops.SeverityWarning, "the group is at 2, the checkpoint at 7"))
		move(0, 7, marked) // As it was before the checkpoint was reset.

		if ahead := p.all(t, "offset-ahead"); ahead[0].Severity != ops.SeverityOK {
			t.Errorf("behind a checkpoint that was reset: %+v", ahead)
		}

		t.Log("commits that the database has lost")
		move(1, 8, marked)
		lost := p.must(t, "offset-ahead", ops.SeverityProblem, "the group is at 8, the checkpoint at 7: the database has lost commits")
		b.Write(t, s.topic, events(14, 4, 2)...)
		m = s.start(t, nil)
		p.cured(t, lost)
		s.awaitCommitted(t, 18)
		m.leave(t)

		t.Log("a checkpoint that is gone")
		p.exec(t, `DELETE FROM idem.checkpoints WHERE partition = 1`)
		p.heal(t, p.must(t, "checkpoint-gone", ops.SeverityProblem, "the group is at 9"))

		t.Log("records that are gone")
		b.Write(t, s.topic, events(18, 6, 2)...)
		b.DeleteRecords(t, s.topic, 0, 11)
		p.heal(t, p.must(t, "checkpoint-out-of-range", ops.SeverityProblem, "the checkpoint is at 9, and the log begins at 11: 2 records expired unread"))
		p.exec(t, `UPDATE idem.checkpoints SET next_offset = 100 WHERE partition = 0`)
		p.heal(t, p.must(t, "checkpoint-out-of-range", ops.SeverityProblem, "the checkpoint is at 100, and the log ends at 12"))

		if hidden {
			return
		}
		t.Log("a handler that hangs")
		release := make(chan struct{})
		s.start(t, func(c *settings) {
			c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
				select {
				case <-release:
					return record(ctx, tx, m)
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		})
		stuck := p.must(t, "checkpoint-stuck", ops.SeverityWarning, "it stands at 11 for 5s although the group has members and 1 record wait")
		s.pause(t)
		p.must(t, "checkpoint-stuck", ops.SeverityOK, "") // It is to stand still.
		paused := p.must(t, "consumer-paused", ops.SeverityWarning, ": the bank is down")
		s.resume(t)
		p.cured(t, paused)
		close(release)
		p.cured(t, stuck)
	})
}

func TestDoctorExaminesTopics(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 1)
		p := newPatient(t, s)
		p.must(t, "kafka-unreachable", ops.SeverityUnknown, "no consumer belongs to a group")
		b.Write(t, s.topic, events(0, 2, 1)...)
		m := s.start(t, nil)
		s.awaitCommitted(t, 2)
		p.must(t, "kafka-unreachable", ops.SeverityOK, "")
		m.leave(t)

		p.must(t, "topic-retention", ops.SeverityOK, "")
		set := func(setting string) {
			if err := p.configure(t.Context(), kafka.ResourceTypeTopic, s.topic, setting); err != nil {
				t.Fatal(err)
			}
		}
		set("retention.ms=1209600000")
		p.heal(t, p.must(t, "topic-retention", ops.SeverityWarning, "it keeps records for 14d, and event ids are remembered for 7d only"))
		set("retention.ms=-1")
		p.heal(t, p.must(t, "topic-retention", ops.SeverityWarning, "without end"))
		set("cleanup.policy=compact")
		p.heal(t, p.must(t, "topic-retention", ops.SeverityWarning, "without end"))
		if b.Fake == nil { // The in-process broker does not know the setting.
			set("unclean.leader.election.enable=true")
			p.heal(t, p.must(t, "unclean-election", ops.SeverityWarning, "is true"))
		}

		gone := broker.Name(t)
		p.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, owner_token) SELECT id, $1, 0, gen_random_uuid() FROM idem.consumers`, gone)
		p.heal(t, p.must(t, "topic-missing", ops.SeverityProblem, "topic "+gone))
		b.DeleteTopic(t, gone)

		p.exec(t, `UPDATE idem.consumers SET bound_cluster = 'another'`)
		elsewhere := p.must(t, "group-elsewhere", ops.SeverityProblem, "is of the cluster another")
		p.heal(t, elsewhere)
		brokers := p.brokers
		p.brokers = "127.0.0.1:1"
		unreachable := p.must(t, "kafka-unreachable", ops.SeverityUnknown, "ask the brokers")
		p.brokers = brokers
		p.cured(t, unreachable)
	})
}

// With three brokers a topic can be made durable.
func TestDoctorExaminesReplicas(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t, kfake.NumBrokers(3))
	s := setup(t, b, 1)
	p := newPatient(t, s)
	b.Write(t, s.topic, events(0, 1, 1)...)
	m := s.start(t, func(c *settings) { c.Mode = consume.ByCheckpoint })
	s.awaitCommitted(t, 1)
	m.leave(t)
	p.heal(t, p.must(t, "topic-durability", ops.SeverityWarning, "min.insync.replicas is 1, of 3 replicas"))

	if err := p.configure(t.Context(), kafka.ResourceTypeTopic, s.topic, "retention.ms=-1"); err != nil {
		t.Fatal(err)
	}
	p.must(t, "topic-retention", ops.SeverityOK, "") // There are no event ids to forget.
}

// A topic with one replica gets two more.
func TestDoctorExaminesTopicsWithOneReplica(t *testing.T) {
	t.Parallel()
	b := broker.ThreeKafkas(t)
	s := setup(t, b.Broker, 1)
	p := newPatient(t, s)
	b.Write(t, s.topic, events(0, 1, 1)...)
	m := s.start(t, nil)
	s.awaitCommitted(t, 1)
	m.leave(t)
	reassign := func(replicas ...int) {
		response, err := b.Client.AlterPartitionReassignments(t.Context(), &kafka.AlterPartitionReassignmentsRequest{
			Topic: s.topic, Assignments: []kafka.AlterPartitionReassignmentsRequestAssignment{{BrokerIDs: replicas}}, Timeout: patience,
		})
		if err != nil || response.Error != nil || response.PartitionResults[0].Error != nil {
			t.Fatal(err, response)
		}
	}
	reassign(b.Leader(t, s.topic, 0))
	one := p.must(t, "topic-durability", ops.SeverityWarning, s.topic+": it has partitions with one replica")
	reassign(1, 2, 3)
	p.cured(t, one) // The brokers' default of min.insync.replicas is 2.
}

// Without checkpoints a group that Kafka forgets begins anew.
func TestDoctorExaminesHowLongOffsetsAreKept(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	s := setup(t, b, 1)
	p := newPatient(t, s)
	keep := func(minutes string) {
		if err := p.configure(t.Context(), kafka.ResourceTypeBroker, "0", "offsets.retention.minutes="+minutes); err != nil {
			t.Fatal(err)
		}
	}
	keep("60")
	b.Write(t, s.topic, events(0, 1, 1)...)
	m := s.start(t, func(c *settings) { c.Mode = consume.ByEventID })
	s.awaitCommitted(t, 1)
	m.leave(t)
	f := p.must(t, "offsets-retention", ops.SeverityWarning, "the brokers forget its offsets 1h after")
	_, minutes, _ := strings.Cut(f.Commands[0], "=")
	keep(minutes)
	p.cured(t, f)

	// What it kept before it went on without checkpoints does not count.
	p.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, owner_token) SELECT id, $1, 0, gen_random_uuid() FROM idem.consumers`, s.topic)
	p.must(t, "offset-ahead", ops.SeverityOK, "")
	p.must(t, "group-empty", ops.SeverityWarning, "no record waits")
}

// A group of Kafka Connect has the name that the consumer's group should have.
func TestDoctorFindsAGroupOfOthers(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	s := setup(t, b, 1)
	p := newPatient(t, s)
	m := s.start(t, nil)
	p.must(t, "kafka-unreachable", ops.SeverityOK, "")
	m.leave(t)
	connect := broker.Name(t)
	p.exec(t, `UPDATE idem.consumers SET bound_group = $1`, connect)
	join := &kafka.JoinGroupRequest{
		GroupID: connect, SessionTimeout: patience, RebalanceTimeout: patience, ProtocolType: "connect",
		Protocols: []kafka.GroupProtocol{{Name: "default", Metadata: kafka.GroupProtocolSubscription{Topics: []string{s.topic}}}},
	}
	joined, err := b.Client.JoinGroup(t.Context(), join)
	if err == nil && errors.Is(joined.Error, kafka.MemberIDRequired) {
		join.MemberID = joined.MemberID
		joined, err = b.Client.JoinGroup(t.Context(), join)
	}
	if err != nil || joined.Error != nil {
		t.Fatal(err, joined)
	}
	f := p.must(t, "group-protocol", ops.SeverityProblem, "their protocol type is connect")
	left, err := b.Client.LeaveGroup(t.Context(), &kafka.LeaveGroupRequest{GroupID: connect, Members: []kafka.LeaveGroupRequestMember{{ID: joined.MemberID}}})
	if err != nil || left.Error != nil {
		t.Fatal(err, left)
	}
	p.cured(t, f)
}

// The brokers' address says how to be let in.
func TestDoctorLogsIn(t *testing.T) {
	t.Parallel()
	server, client := certificate(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificates[0].Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	b := broker.InProcess(t, kfake.TLS(server), kfake.EnableSASL(), kfake.Superuser("PLAIN", "alice", "p@ss"), kfake.Superuser("SCRAM-SHA-256", "bob", "secret"), kfake.Superuser("SCRAM-SHA-512", "carol", "secret"))
	transport := b.Client.Transport.(*kafka.Transport) //nolint:forcetypeassert // It is one.
	login := plain.Mechanism{Username: "alice", Password: "p@ss"}
	transport.TLS, transport.SASL = client, login
	s := setup(t, b, 1)
	p := newPatient(t, s)
	b.Write(t, s.topic, events(0, 1, 1)...)
	m := s.start(t, func(c *settings) { c.TLS, c.SASL = client, login })
	s.awaitCommitted(t, 1)
	m.leave(t)
	for mechanism, user := range map[string]string{"PLAIN": "alice:p%40ss", "SCRAM-SHA-256": "bob:secret", "SCRAM-SHA-512": "carol:secret"} {
		p.brokers = "kafka+tls://" + user + "@" + b.Addrs[0] + "?sasl=" + mechanism + "&ca=" + ca
		p.must(t, "kafka-unreachable", ops.SeverityOK, "")
		p.must(t, "group-empty", ops.SeverityWarning, "no record waits")
	}
	p.brokers = "kafka+tls://alice:wrong@" + b.Addrs[0] + "?ca=" + ca
	if f := p.must(t, "kafka-unreachable", ops.SeverityUnknown, ""); strings.Contains(f.Seen, "wrong") {
		t.Errorf("%+v", f)
	}
}
