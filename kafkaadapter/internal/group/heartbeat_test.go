package group

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/nova-events/idempotent-consumer/internal/apachekafka"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
)

// beats are the times of the heartbeats that are sent on all connections.
type beats struct {
	mu sync.Mutex
	at []time.Time
}

type heardConn struct {
	net.Conn

	beats *beats
}

// Write implements net.Conn. Each request is written at once.
func (c heardConn) Write(b []byte) (int, error) {
	if len(b) > 6 && binary.BigEndian.Uint16(b[4:]) == uint16(protocol.Heartbeat) {
		c.beats.mu.Lock()
		c.beats.at = append(c.beats.at, time.Now())
		c.beats.mu.Unlock()
	}

	return c.Conn.Write(b)
}

// gaps are the times between heartbeats, ascending.
func (b *beats) gaps() []time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	var gaps []time.Duration
	for i := 1; i < len(b.at); i++ {
		gaps = append(gaps, b.at[i].Sub(b.at[i-1]))
	}
	slices.Sort(gaps)

	return gaps
}

// The leader subscribes to 2,000 topics, and takes longer than a session to read them before it deals out
// their partitions. Afterwards they are read again and again. Its heartbeats wait for none of that.
func TestHeartbeatsAreOnTimeWithManyTopics(t *testing.T) {
	t.Parallel()
	const n = 2_000
	s := setupWith(t, func() (*apachekafka.Cluster, error) { // A busy machine takes minutes to make the logs, and until then a broker knows no newer topics.
		c, err := apachekafka.Start(t.Context(), apachekafka.Config{})
		if err == nil {
			t.Cleanup(func() { _ = c.Stop() })
		}

		return c, err
	}, 1)
	topics := make([]string, n)
	create := make([]kafka.TopicConfig, n)
	for i := range topics {
		topics[i] = fmt.Sprintf("%s-%04d", s.topic, i)
		create[i] = kafka.TopicConfig{Topic: topics[i], NumPartitions: 1, ReplicationFactor: 1}
	}
	s.create(t, create...)

	m, heard := s.member(t, "", 1), new(beats)
	m.config.Brokers = s.connect(t, func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := m.dial(ctx, network, address)

		return heardConn{conn, heard}, err
	})
	m.coordinator = newCoordinator(m.config)
	read := func(ctx context.Context) (map[string]int, error) {
		metadata, err := m.config.Brokers.Metadata(ctx, topics...)
		counts := make(map[string]int)
		for _, topic := range metadata.Topics {
			counts[topic.Name] = topic.Partitions
		}

		return counts, err
	}
	reads := 0
	m.config.Partitions = func(ctx context.Context, _ []string) (counts map[string]int, err error) {
		for began := time.Now(); time.Since(began) < session+session/2; reads++ {
			if counts, err = read(ctx); err != nil {
				return nil, err
			}
		}

		return counts, err
	}
	joining, cancel := context.WithTimeout(t.Context(), 5*session)
	defer cancel()
	g, err := m.Join(joining, topics)
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Assignments) != n || g.ID != 1 {
		t.Errorf("generation %d: %d topics were assigned", g.ID, len(g.Assignments))
	}
	counts, err := read(t.Context())
	if err != nil || g.Undealt(counts) {
		t.Errorf("undealt: %v, %v", g.Undealt(counts), err)
	}
	if committed, err := g.Committed(t.Context(), counts); err != nil || len(committed) != n {
		t.Errorf("%d offsets, %v", len(committed), err)
	}
	for range 5 {
		if !backoff.Sleep(g.Context(), session/10) {
			t.Fatal(g.Err())
		}
		reads++
		if _, err := read(t.Context()); err != nil {
			t.Error(err)
		}
	}
	gaps := heard.gaps()
	t.Logf("%d heartbeats at intervals of 50 ms while 2,000 topics were read %d times: median gap %v, longest %v", len(gaps), reads, gaps[len(gaps)/2], gaps[len(gaps)-1])
	if longest := gaps[len(gaps)-1]; longest > session/3 || g.Err() != nil {
		t.Errorf("the longest gap is %v; the generation: %v", longest, g.Err())
	}
}
