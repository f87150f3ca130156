package e2e_test

import (
	"sync/atomic"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// The leader is told once that there is no such topic, right when it deals out the partitions: the
// group is stable then, and the partitions belong to nobody.
func TestPartitionsThatWereNotDealtOut(t *testing.T) {
	kafkaGoOnly(t, "the lie is told to kafka-go's group")
	t.Parallel()
	s := setup(t, broker.InProcess(t), 2)
	s.broker.Write(t, s.topic, events(0, 20, 2)...)
	var joins, lied atomic.Bool
	s.broker.Fake.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		joins.Store(true)

		return nil, nil, false //nolint:nilnil // The broker is to answer as ever.
	})
	s.broker.Fake.ControlKey(int16(kmsg.Metadata), func(request kmsg.Request) (kmsg.Response, error, bool) {
		s.broker.Fake.KeepControl()
		asked := request.(*kmsg.MetadataRequest) //nolint:forcetypeassert // It is what the key says.
		// kafka-go's own requests are of an older version. The next of this one comes before SyncGroup.
		if asked.Version != 10 || !joins.Load() || !lied.CompareAndSwap(false, true) {
			return nil, nil, false //nolint:nilnil // The broker is to answer as ever.
		}
		response := asked.ResponseKind().(*kmsg.MetadataResponse) //nolint:forcetypeassert // It is what the key says.
		for _, topic := range asked.Topics {
			missing := kmsg.NewMetadataResponseTopic()
			missing.Topic, missing.ErrorCode = topic.Topic, int16(kafka.UnknownTopicOrPartition)
			response.Topics = append(response.Topics, missing)
		}

		return response, nil, true
	})
	var h heard
	m := s.start(t, h.config)
	s.awaitCommitted(t, 20)
	m.leave(t)
	s.verify(t, 20)
	if !lied.Load() || !h.logged("assigned to nobody") {
		t.Errorf("lied %v; it said\n%s", lied.Load(), h.log.String())
	}
}

// A partition is added between the leader's look at the topic and everybody else's.
func TestPartitionAddedWhileTheOthersAreDealtOut(t *testing.T) {
	classicOnly(t)
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	var added atomic.Bool
	s.broker.Fake.ControlKey(int16(kmsg.SyncGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		s.broker.Fake.KeepControl()
		if added.CompareAndSwap(false, true) {
			s.broker.Fake.SleepControl(func() {
				response, err := s.broker.Client.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{
					Topics: []kafka.TopicPartitionsConfig{{Name: s.topic, Count: 2}},
				})
				if err != nil || response.Errors[s.topic] != nil {
					t.Error(response, err)
				}
			})
		}

		return nil, nil, false //nolint:nilnil // The broker is to answer as ever.
	})
	m := s.start(t, func(c *settings) { c.Start = consume.FromLatest })
	until(t, "both partitions to be known to the producer", func() bool {
		metadata, err := s.broker.Client.Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{s.topic}})

		return err == nil && len(metadata.Topics[0].Partitions) == 2
	})
	s.awaitMembers(t, 1)
	until(t, "the member to have begun", func() bool {
		var n int
		err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM idem.checkpoints`).Scan(&n)

		return err == nil && n > 0
	})
	s.broker.Write(t, s.topic, events(0, 20, 2)...)
	s.awaitEffects(t, 20)
	m.leave(t)
	s.verify(t, 20)
}
