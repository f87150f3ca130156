package e2e_test

import (
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/internal/logbuffer"
)

// The broker refuses to commit offsets for a while: that is told once, and again when it is over.
func TestRefusedCommitsAreToldOnce(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 10, 1)...)
	const refusals = 5
	var refused atomic.Int32
	s.broker.Fake.ControlKey(int16(kmsg.OffsetCommit), func(request kmsg.Request) (kmsg.Response, error, bool) {
		s.broker.Fake.KeepControl()
		if refused.Add(1) > refusals {
			return nil, nil, false //nolint:nilnil // The broker is to answer as ever.
		}
		asked := request.(*kmsg.OffsetCommitRequest)                //nolint:forcetypeassert // By its key.
		answer := asked.ResponseKind().(*kmsg.OffsetCommitResponse) //nolint:forcetypeassert // By its key.
		for _, t := range asked.Topics {
			topic := kmsg.NewOffsetCommitResponseTopic()
			topic.Topic, topic.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				partition := kmsg.NewOffsetCommitResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, kerr.UnknownServerError.Code
				topic.Partitions = append(topic.Partitions, partition)
			}
			answer.Topics = append(answer.Topics, topic)
		}

		return answer, nil, true
	})
	var log logbuffer.Buffer
	m := s.start(t, func(c *settings) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	s.awaitCommitted(t, 10)
	m.leave(t)
	if refusal, end := log.Having("not committed"), log.Having("committed again"); len(refusal) != 1 || len(end) != 1 {
		t.Errorf("told %q and %q", refusal, end)
	}
}
