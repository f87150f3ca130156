package e2e_test

import (
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// A database loses its last commits in the midst of the turns of a relay: by a failover to a standby, or by a crash. Kafka has
// records that the database knows nothing of any more; their events are processed and published again. With event ids that follow
// from the events the end of the chain recognizes them.
func TestOutboxOfDatabaseThatLosesCommits(t *testing.T) {
	t.Parallel()
	for database := range lossyDatabases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			broker.Each(t, func(t *testing.T, b *broker.Broker) {
				const partitions, keys, each = 2, 20, 1_000
				l := setupLossy(t, b, database, partitions)
				l.createAccounts(t)
				middle := b.CreateTopic(t, partitions, nil)
				end := startLedger(t, b, middle, pgtest.NewDB(t).Pool(t)) // It loses nothing.
				served := *l.bench
				served.pool = l.service
				served.startRelayWith(t, outbox.Config{Poll: time.Millisecond, MaxBytes: 5_000}) // some 20 records a turn
				m := l.start(t, func(c *settings) {
					c.Batch.Size = 20
					c.Handle = forwardAs(middle, func(m consume.Message) string { return "forwarded " + m.EventID })
				})
				b.Write(t, l.topic, inChain(0, each, partitions, keys)...)
				end.await(t, each/2)
				l.holds(t)
				b.Write(t, l.topic, inChain(each, each, partitions, keys)...)
				end.await(t, each+each/4)
				l.loses(t, func() { b.Write(t, l.topic, inChain(2*each, each, partitions, keys)...) })
				end.await(t, 3*each)
				l.awaitNoneInOutbox(t, "true")
				m.leave(t)
				duplicates := end.verify(t, partitions, 3*each)
				t.Logf("%d records were published again", duplicates)
				if duplicates == 0 {
					t.Error("nothing that Kafka has was lost")
				}
			})
		})
	}
}
