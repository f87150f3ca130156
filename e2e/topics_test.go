package e2e_test

import (
	"testing"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// Two topics number their records from 0 each: with InTopic all of them take effect. With AcrossTopics a
// number is one event in both.
func TestIDsOfSeveralTopics(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		strategy consume.EventID
		want     int
	}{
		"in topic":      {consume.InTopic(consume.PayloadField("id")), 200},
		"across topics": {consume.AcrossTopics(consume.PayloadField("id")), 100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			refunds := s.topic + "-refunds"
			s.create(t, refunds, 1)
			for _, topic := range []string{s.topic, refunds} {
				s.broker.Write(t, topic, events(0, 100, 1)...)
			}
			m := s.start(t, func(c *settings) {
				c.Topics, c.EventID = []string{s.topic, refunds}, test.strategy
			})
			s.awaitCommitted(t, 100)
			until(t, "the other topic", func() bool { return s.broker.Committed(t, s.group, refunds)[0] == 100 })
			m.leave(t)
			s.verifyOnce(t, test.want)
		})
	}
}
