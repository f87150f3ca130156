package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
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

// The first of two orders with one id has become a dead letter, or the second is parked. That one is not simply a duplicate, either.
func TestCollisionWithADeadLetter(t *testing.T) {
	t.Parallel()
	ids := events(0, 4, 1)
	order := func(id int, key, value string) kafka.Message {
		return kafka.Message{Key: []byte(key), Headers: ids[id].Headers, Value: []byte(value)}
	}
	for name, park := range map[string]bool{"behind its dead letter": false, "parked": true} {
		for policy, want := range map[consume.CollisionPolicy]struct{ collisions, letters int }{
			consume.ReportCollision: {2, 1}, consume.FailOnCollision: {2, 3}, consume.IgnoreCollision: {0, 1},
		} {
			t.Run(fmt.Sprint(name, policy), func(t *testing.T) {
				t.Parallel()
				s := setup(t, broker.InProcess(t), 1)
				s.broker.Write(t, s.topic, order(0, "a", "good"), order(1, "k", "poison"), order(1, "k", "other"), order(0, "k", "other"), order(1, "k", "poison"))
				var h heard
				m := s.start(t, func(c *settings) {
					h.config(c)
					c.OnCollision, c.Failure.ParkKeys = policy, park
					c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
						if string(m.Value) == "poison" {
							return consume.Permanent(errPoison)
						}

						return record(ctx, tx, m)
					}
				})
				s.awaitCommitted(t, 5)
				m.leave(t)
				s.verifyOnce(t, 1)
				if told := h.of(consume.EventCollision); len(told) != want.collisions {
					t.Errorf("it told %+v", told)
				}
				if letters := s.letters(t); len(letters) != want.letters {
					t.Errorf("letters %q, want %d", letters, want.letters)
				}
			})
		}
	}
}
