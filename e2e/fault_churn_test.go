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
	distinct := 100_000
	if testing.Short() {
		distinct = 10_000
	}
	testChurnOfProcesses(t, distinct, (*bench).verify, func(int) job { return job{} })
}

// The same with lanes in every other process. The records of a key keep their order.
func TestChurnOfProcessesWithLanes(t *testing.T) {
	t.Parallel()
	testChurnOfProcesses(t, 20_000, (*bench).verifyKeys, func(n int) job { return job{Lanes: 1 + 7*(n%2)} })
}

// testChurnOfProcesses asks jobOf what the nth process is like.
func testChurnOfProcesses(t *testing.T, distinct int, verify func(s *bench, t *testing.T, n int), jobOf func(n int) job) {
	t.Helper()
	const partitions, duplicates, rounds = 8, 2_000, 8
	db := pgtest.NewDB(t)
	s := setupIn(t, broker.ApacheKafka(t), partitions, db.Pool(t))
	s.broker.Produce(t, s.topic, shareKeys(slices.Concat(events(0, distinct, partitions), events(0, duplicates, partitions))))

	began := time.Now()
	defer s.watch(t)()
	random := rand.New(rand.NewPCG(1, 2))
	started := 0
	start := func() *worker {
		j := jobOf(started)
		j.DSN = db.Service
		started++

		return s.startJob(t, j)
	}
	workers := []*worker{start(), start()}
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
		workers = append(workers, start())
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
	verify(s, t, distinct)
	t.Logf("%d records, %d of them twice, %d processes, %d killed: %v", distinct, duplicates, len(workers)+rounds, rounds/2, took)
}
