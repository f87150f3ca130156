package e2e_test

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idemsql"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// Handlers write and publish through a *sql.Tx, in all ways of processing, while a member joins and leaves. What a failed attempt has
// written and published is gone.
func TestInTx(t *testing.T) {
	t.Parallel()
	for mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			broker.Each(t, func(t *testing.T, b *broker.Broker) {
				const partitions, n = 4, 400
				s := setup(t, b, partitions)
				middle := &bench{broker: b, topic: b.CreateTopic(t, partitions, nil), pool: s.pool}
				var failed sync.Map // by partition, once
				start := func() *member {
					return s.start(t, func(c *settings) {
						modes[mode](c, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
							return idemsql.InTx(ctx, tx, func(ctx context.Context, tx *sql.Tx) error {
								if _, err := tx.ExecContext(ctx, insertEffect, m.EventID, m.Partition, m.Offset, m.Attempt); err != nil {
									return err
								}
								if err := idemsql.Publish(ctx, tx, outbox.Record{Topic: middle.topic, Key: m.Key, Value: []byte(m.EventID)}); err != nil {
									return err
								}
								if m.Offset != 7 {
									return nil
								}
								if _, before := failed.LoadOrStore(m.Partition, true); !before {
									return idem.Transient(errors.New("fails once"))
								}

								return nil
							})
						})
					})
				}
				b.Write(t, s.topic, events(0, n/2, partitions)...)
				first := start()
				s.awaitEffects(t, n/4)
				second := start()
				b.Write(t, s.topic, events(n/2, n/2, partitions)...)
				s.awaitEffects(t, n)
				second.leave(t)
				s.awaitCommitted(t, n)
				first.leave(t)
				s.verifyOnce(t, n)
				if mode != "lanes" {
					s.verifyOrder(t, `"partition"`)
				}
				s.startRelay(t)
				s.awaitNoneInOutbox(t, "true")
				if again := verifyRelayed(t, middle.relayed(t, partitions), n); again > 0 {
					t.Errorf("%d records were published twice", again)
				}
			})
		})
	}
}
