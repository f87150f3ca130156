package e2e_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
)

// Two orders have one id. The second one is not simply a duplicate: it is told, or stored.
func TestCollidingEventIDs(t *testing.T) {
	t.Parallel()
	records := events(0, 30, 1)
	for _, i := range []int{3, 4, 20} { // Each collides with the one before; the last is produced again as it was.
		records = append(records, kafka.Message{Key: records[i].Key, Headers: records[i].Headers, Value: []byte(`{"other":true}`)})
	}
	records = append(records, records[7])
	for name, form := range forms() {
		if name == "checkpoint alone" {
			continue
		}
		for policy, want := range map[consume.CollisionPolicy]struct{ collisions, letters int }{
			consume.ReportCollision: {3, 0}, consume.FailOnCollision: {3, 3}, consume.IgnoreCollision: {0, 0},
		} {
			t.Run(fmt.Sprint(name, policy), func(t *testing.T) {
				t.Parallel()
				s := setup(t, broker.InProcess(t), 1)
				s.broker.Write(t, s.topic, records...)
				var h heard
				m := s.start(t, func(c *settings) { form(c); h.config(c); c.OnCollision = policy })
				s.awaitCommitted(t, 34)
				m.leave(t)
				s.verifyOnce(t, 30)
				told := h.of(consume.EventCollision)
				var collision *idem.CollisionError
				if len(told) != want.collisions || len(told) > 0 && (!errors.As(told[0].Err, &collision) || collision.EventID == "") {
					t.Errorf("it told %+v", told)
				}
				var letters int
				err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM idem.dead_letters WHERE event_id IS NULL AND error LIKE '%another payload%'`).Scan(&letters)
				if err != nil || letters != want.letters {
					t.Errorf("%d dead letters, %v; want %d", letters, err, want.letters)
				}
			})
		}
	}
}
