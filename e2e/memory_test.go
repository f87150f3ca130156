package e2e_test

import (
	"bytes"
	"testing"

	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
)

// Partitions share the memory: they wait for each other, but none for ever, and all of it is
// given back.
func TestPartitionsShareTheMemory(t *testing.T) {
	kafkaGoOnly(t, "franzadapter has no Memory that consumers share")
	t.Parallel()
	const n, partitions, size, budget = 400, 8, 50_000, 2 << 20
	for name, change := range map[string]func(*settings){
		"single": func(c *settings) { c.OwnTransactions = true },
		"shared": func(*settings) {},
		"queue":  func(c *settings) { c.Handle, c.HandleQueue = nil, enqueue },
		"batch":  func(c *settings) { c.Handle, c.HandleBatch = nil, eachOf(record) },
		"lanes":  func(c *settings) { c.Lanes.Count = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), partitions)
			records := events(0, n, partitions)
			for i := range records {
				records[i].Value = bytes.Repeat([]byte{byte(i)}, size) // It compresses to nothing.
			}
			s.broker.Produce(t, s.topic, records)
			memory := kafkaadapter.NewMemory(budget)
			start := func() *member {
				return s.start(t, func(c *settings) {
					c.Memory = memory
					change(c)
				})
			}
			first := start()
			s.awaitEffects(t, n/4)
			second := start() // A rebalance drops what was fetched.
			s.awaitEffects(t, n)
			s.awaitCommitted(t, n)
			first.leave(t)
			second.leave(t)
			s.verifyOnce(t, n)
			now, peak := memory.Used()
			if now != 0 || peak > budget || peak < budget/4 {
				t.Errorf("%d bytes are taken, %d were at most", now, peak)
			}
		})
	}
}
