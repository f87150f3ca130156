package e2e_test

import (
	"slices"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// Transactions that overlap in one partition end differently and in another order. What one
// holds back comes when it ends, or is dropped.
func TestOpenTransactionHoldsBack(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]kgo.TransactionEndTry{"committed": kgo.TryCommit, "aborted": kgo.TryAbort} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker.Each(t, func(t *testing.T, b *broker.Broker) {
				s := setup(t, b, 2)
				plain := func(first int) { b.Produce(t, s.topic, part(first)) }
				committed, aborted, open := b.Begin(t, s.topic), b.Begin(t, s.topic), b.Begin(t, s.topic)
				plain(0)
				committed.Produce(t, part(10))
				aborted.Produce(t, part(20))
				open.Produce(t, part(30))
				committed.Produce(t, part(40))
				plain(50)
				aborted.End(t, kgo.TryAbort)
				committed.End(t, kgo.TryCommit)
				plain(60)
				m := s.start(t, nil)

				// The other partition goes on. Several rounds of it are time enough for what is
				// held back to come, if it were to.
				want := append(ids(0), ids(10)...)
				s.awaitEffects(t, len(want))
				const rounds = 5
				for round := range rounds {
					other := events(1_000+2*round, 2, 2)[1:]
					b.Produce(t, s.topic, other)
					want = append(want, string(other[0].Headers[0].Value))
					s.awaitEffects(t, len(want))
				}
				s.wantEffects(t, want)

				open.End(t, end)
				want = slices.Concat(want, ids(40), ids(50), ids(60))
				if end == kgo.TryCommit {
					want = append(want, ids(30)...)
				}
				until(t, "all to be committed", func() bool {
					_, last := b.Ends(t, s.topic, 0) // Kafka before 4.0 may still have to end the transaction.

					return s.committed(t) == last+rounds
				})
				m.leave(t)
				s.wantEffects(t, want)
				s.verify(t, len(want))
			})
		})
	}
}

const partSize = 10

// part is a few records of the first partition.
func part(first int) []kafka.Message { return events(first, partSize, 1) }

// ids are those of a part.
func ids(first int) []string {
	all := make([]string, partSize)
	for i := range all {
		all[i] = strconv.Itoa(first + i)
	}

	return all
}

// wantEffects checks which events took effect.
func (s *bench) wantEffects(t *testing.T, want []string) {
	t.Helper()
	got := s.effectIDs(t)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("the events %q took effect, want %q", got, want)
	}
}

// effectIDs are the sorted ids of the events that took effect.
func (s *bench) effectIDs(t *testing.T) []string {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), `SELECT event_id FROM public.effects`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)

	return got
}
