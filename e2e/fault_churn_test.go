package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// Processes join, leave and are killed while a stream with duplicates comes in.
func TestChurnOfProcesses(t *testing.T) {
	t.Parallel()
	const partitions, duplicates, rounds = 8, 2_000, 8
	distinct := 100_000
	if testing.Short() {
		distinct = 10_000
	}
	db := pgtest.NewDB(t)
	s := setupIn(t, broker.ApacheKafka(t), partitions, db.Pool(t))
	s.broker.Produce(t, s.topic, slices.Concat(events(0, distinct, partitions), events(0, duplicates, partitions)))

	began := time.Now()
	defer s.watch(t)()
	random := rand.New(rand.NewPCG(1, 2))
	workers := []*worker{s.startWorker(t, db.DSN), s.startWorker(t, db.DSN)}
	takeOne := func() *worker {
		i := random.IntN(len(workers))
		w := workers[i]
		workers = slices.Delete(workers, i, i+1)

		return w
	}
	step := 0
	nextStep := func() {
		step++
		share := int64(distinct) * int64(step) / (2*rounds + 1)
		until(t, fmt.Sprintf("%d records to be committed", share), func() bool { return s.committed(t) >= share })
	}
	for round := range rounds {
		nextStep()
		workers = append(workers, s.startWorker(t, db.DSN))
		nextStep()
		if round%2 == 0 {
			takeOne().kill(t)
		} else {
			takeOne().dismiss(t)
		}
	}
	s.awaitCommitted(t, int64(distinct+duplicates))
	took := time.Since(began)
	for _, w := range workers {
		w.dismiss(t)
	}
	s.verify(t, distinct)
	t.Logf("%d records, %d of them twice, %d processes, %d killed: %v", distinct, duplicates, len(workers)+rounds, rounds/2, took)
}
