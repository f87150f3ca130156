package group

import (
	"context"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"

	"github.com/nova-events/idempotent-consumer/internal/backoff"
)

// lossyConn loses the commits that are written to it.
type lossyConn struct{ net.Conn }

// Write implements net.Conn. Each request is written at once.
func (c lossyConn) Write(b []byte) (int, error) {
	if len(b) > 6 && binary.BigEndian.Uint16(b[4:]) == uint16(protocol.OffsetCommit) {
		return len(b), nil
	}

	return c.Conn.Write(b)
}

// Requests share a connection. One that is never answered does not hold up heartbeats until the session has run out.
func TestHeartbeatsCutARequestThatHangs(t *testing.T) {
	t.Parallel()
	s := setup(t, 1)
	m := s.member(t, "", 1)
	m.config.Brokers = s.connect(t, func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := m.dial(ctx, network, address)

		return lossyConn{conn}, err
	})
	m.coordinator = newCoordinator(m.config)
	g := m.join()
	committed := make(chan error, 1)
	go func() { committed <- g.Commit(t.Context(), map[string]map[int]Offset{s.topic: {0: {Next: 1}}}) }()
	if err := <-committed; err == nil {
		t.Error("it was committed")
	}
	if !backoff.Sleep(g.Context(), session/3) {
		t.Errorf("the generation ended: %v", g.Err())
	}
}

// The leader takes longer to deal than a heartbeat may. The other member's wait for its assignment goes on.
func TestHeartbeatsAreNotSentBehindTheWaitForAnAssignment(t *testing.T) {
	t.Parallel()
	s := setup(t, 2)
	leader, other := s.member(t, "", 2), s.member(t, "", 2)
	first := leader.join()
	deal := leader.config.Partitions
	leader.config.Partitions = func(ctx context.Context, topics []string) (map[string]int, error) {
		backoff.Sleep(ctx, session-time.Second)

		return deal(ctx, topics)
	}
	ofLeader, ofOther := both(leader, first, other)
	if !ofLeader.Leader || ofLeader.ID != first.ID+1 || ofOther.ID != ofLeader.ID {
		t.Errorf("generation %d of the leader (%v), %d of the other, after %d", ofLeader.ID, ofLeader.Leader, ofOther.ID, first.ID)
	}
	if said := other.logged(); said != "" {
		t.Errorf("the other said %q", said)
	}
}
