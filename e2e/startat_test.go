package e2e_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/ops"
)

// timed are ten events for each of three partitions, one a minute, from a time on for each partition.
func timed(first int, begins [3]time.Time) []kafka.Message {
	all := events(first, 30, 3)
	for i := range all {
		all[i].Time = begins[i%3].Add(time.Duration(i/3) * time.Minute)
	}

	return all
}

// A group that starts at a time begins with the first record that is not older, in each partition for itself; where all
// are older, at the end. It remembers that, whatever times the records have that come later.
func TestStartAtATime(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		for name, mode := range map[string]consume.Mode{"with checkpoints": consume.ByEventIDAndCheckpoint, "by event id": consume.ByEventID} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := setup(t, b, 3)
				begin := time.Now().Add(-3 * time.Hour).Truncate(time.Millisecond)
				b.Write(t, s.topic, timed(0, [3]time.Time{begin, begin.Add(-time.Hour), begin.Add(time.Hour)})...)
				at := func(c *settings) { c.Start, c.Mode = consume.StartAt(begin.Add(5*time.Minute)), mode }
				m := s.start(t, at)
				s.awaitCommitted(t, 30)
				m.leave(t)
				s.verify(t, 15)
				for partition, want := range map[int]string{0: "5 9", 1: " ", 2: "0 9"} {
					var got string
					err := s.pool.QueryRow(t.Context(), `SELECT concat(min("offset"), ' ', max("offset")) FROM public.effects WHERE "partition" = $1`, partition).Scan(&got)
					if err != nil || got != want {
						t.Errorf("of partition %d the offsets %q were processed, want %q, %v", partition, got, want, err)
					}
				}

				old := begin.Add(-2 * time.Hour)
				b.Write(t, s.topic, timed(30, [3]time.Time{old, old, old})...)
				m = s.start(t, at)
				s.awaitCommitted(t, 60)
				m.leave(t)
				s.verify(t, 45)
			})
		}
	})
}

// Checkpoints are set to a time, which may be given as an age: each to its first record that is not older, or to its
// end.
func TestCheckpointResetToATime(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 3)
		p := newPatient(t, s)
		begin := time.Now().Add(-3 * time.Hour).Truncate(time.Second)
		b.Write(t, s.topic, timed(0, [3]time.Time{begin, begin.Add(-time.Hour), begin.Add(time.Hour)})...)
		m := s.start(t, nil)
		s.awaitCommitted(t, 30)
		m.leave(t)
		before := []int64{10, 10, 10}
		for _, to := range []string{begin.Add(5 * time.Minute).Format(time.RFC3339), "2h55m30s"} {
			stdout, stderr, status := p.run(t, "checkpoint", "reset", "-c", "test", "-t", s.topic, "--all-partitions", "--to-time", to, "--json", "-y")
			var r ops.ResetResult
			if err := json.Unmarshal([]byte(stdout), &r); err != nil || status != 0 || len(r.Partitions) != 3 {
				t.Fatalf("%v, exit status %d\n%s%s", err, status, stdout, stderr)
			}
			after := []int64{5, 10, 0}
			for i, want := range after {
				if got := r.Partitions[i]; got.NextOffset != want || got.PreviousOffset != before[i] || got.Partition != int32(i) {
					t.Errorf("%s: %+v, want offset %d", to, got, want)
				}
			}
			before = after
		}
	})
}
