package console

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/ops"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func newTestLive(t *testing.T) (*live, func(sql string)) {
	t.Helper()
	pool := pgtest.NewDB(t).OwnerPool(t)
	client, err := ops.New(pool, ops.Config{})
	if err != nil {
		t.Fatal(err)
	}
	exec := func(sql string) {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`INSERT INTO idem.consumers (id, name, retention) VALUES (idem.consumer_id('orders'), 'orders', '7 days')`)
	exec(`INSERT INTO idem.checkpoints (consumer_id, topic, partition, next_offset) VALUES (idem.consumer_id('orders'), 'orders', 0, 100), (idem.consumer_id('orders'), 'orders', 1, 5)`)

	l := newLive(Config{Client: client, Logger: slog.New(slog.DiscardHandler)})
	l.interval = 10 * time.Millisecond

	return l, exec
}

// All viewers have one poller, which ends with the last of them. That it does, the search for leaks sees.
func TestViewersShareOnePoller(t *testing.T) {
	t.Parallel()
	l, _ := newTestLive(t)
	first, ok := l.join(t.Context())
	if !ok {
		t.Fatal("no place")
	}
	<-first
	second, _ := l.join(t.Context())
	same := false
	for range 100 { // One of them may be a snapshot behind.
		if one, other := <-first, <-second; one == other {
			same = true

			break
		}
	}
	if !same {
		t.Error("two viewers are never told the same")
	}
	l.leave(first)
	for range 2 {
		<-second // It goes on for the other one.
	}
	l.leave(second)
	third, _ := l.join(t.Context()) // Somebody has gone to another page.
	if s := <-third; s.Err != nil || s.Consumers[0].Rate == nil {
		t.Errorf("a rate is forgotten: %+v", s)
	}
	l.leave(third)
}

func TestViewersAreBounded(t *testing.T) {
	t.Parallel()
	l, _ := newTestLive(t)
	var all []chan *snapshot
	for {
		viewer, ok := l.join(t.Context())
		if !ok {
			break
		}
		all = append(all, viewer)
	}
	if len(all) != maxViewers {
		t.Error(len(all))
	}
	for _, viewer := range all {
		l.leave(viewer)
	}
}

// A rate is that of the partitions that are known from before: a new one is no jump, one that is set back no fall.
func TestRates(t *testing.T) {
	t.Parallel()
	l, exec := newTestLive(t)
	l.kafka = func(context.Context, []string, []string) (ops.KafkaFacts, error) {
		return ops.KafkaFacts{Topics: map[string]ops.TopicFacts{"orders": {Partitions: map[int32]ops.PartitionFacts{0: {End: 400}, 1: {End: 5}}}}}, nil
	}
	p := poller{live: l}
	if s := p.read(t.Context()); s.Err != nil || s.Consumers[0].Rate != nil || s.Partitions[0].State() != "" && s.Partitions[0].Lag == nil {
		t.Fatalf("%+v", s)
	}
	p.samples[0].at = p.samples[0].at.Add(-10 * time.Second)
	p.asked = time.Time{}
	exec(`UPDATE idem.checkpoints SET next_offset = next_offset OPERATOR(pg_catalog.+) 200 WHERE partition OPERATOR(pg_catalog.=) 0`)
	exec(`INSERT INTO idem.checkpoints (consumer_id, topic, partition, next_offset) VALUES (idem.consumer_id('orders'), 'orders', 2, 1000000)`)
	s := p.read(t.Context())
	one := s.Consumers[0]
	if rate := *one.Rate; rate < 10 || rate > 20 || *one.Lag != 100 || one.Partitions != 3 || len(one.Rates) != 1 {
		t.Errorf("%+v, rate %v, lag %v", one, rate, *one.Lag)
	}
	for i, want := range []string{"moving", "at the end", ""} {
		if got := s.Partitions[i].State(); got != want {
			t.Errorf("partition %d is %q, want %q", i, got, want)
		}
	}
	exec(`UPDATE idem.checkpoints SET next_offset = 0`)
	if s = p.read(t.Context()); *s.Consumers[0].Rate != 0 || s.Partitions[0].State() != "standing still" {
		t.Errorf("%+v", s.Consumers[0])
	}
	exec(`UPDATE idem.consumers SET paused_at = pg_catalog.now(), paused_by = 'olga', pause_reason = ''`)
	if s = p.read(t.Context()); s.Partitions[0].State() != "paused" {
		t.Errorf("%+v", s.Partitions[0])
	}
	for range 2 * history {
		s = p.read(t.Context())
	}
	if len(p.samples) != smoothing || len(s.Consumers[0].Rates) != history {
		t.Errorf("%d samples, %d rates are kept", len(p.samples), len(s.Consumers[0].Rates))
	}
}

// A server that does not answer is told as one that is away: the page would say "Live" beside old figures.
func TestServerThatHangsIsTold(t *testing.T) {
	t.Parallel()
	l, exec := newTestLive(t)
	l.timeout = 500 * time.Millisecond
	viewer, _ := l.join(t.Context())
	defer l.leave(viewer)
	exec(`CREATE FUNCTION public.hold() RETURNS void LANGUAGE plpgsql AS $$ BEGIN LOCK TABLE idem.consumers; PERFORM pg_catalog.pg_sleep(4); END $$`)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		exec(`SELECT public.hold()`)
	}()
	told := false
	for holds := true; holds; {
		select {
		case s := <-viewer:
			told = told || s.Err != nil
		case <-ended:
			holds = false
		}
	}
	if !told {
		t.Error("nothing was told")
	}
}
