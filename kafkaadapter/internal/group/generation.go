package group

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

// Generation is the time between two rebalances, in which each partition belongs to one member.
type Generation struct {
	ID          int32
	MemberID    string
	Assignments map[string][]int // by topic; ascending
	Leader      bool             // this member assigns the partitions

	member *Member
	//nolint:containedctx // It is the generation's own.
	ctx   context.Context
	over  context.CancelCauseFunc
	mute  context.CancelFunc // ends the heartbeats
	muted chan struct{}

	// syncing is locked by who sends a heartbeat, or waits for the assignment. A coordinator that holds back the
	// answer for the assignment takes the request for a heartbeat, and one behind it on the connection would wait.
	syncing sync.Mutex

	topics []string // of all members; known to the leader
	digest []byte   // of what was assigned; nil if it is not known
}

func newGeneration(ctx context.Context, m *Member, j joined) *Generation {
	alive := context.WithoutCancel(ctx)
	g := &Generation{
		ID: j.generation, MemberID: j.member, Leader: j.leader == j.member, member: m,
		Assignments: make(map[string][]int), muted: make(chan struct{}),
	}
	g.ctx, g.over = context.WithCancelCause(alive)
	beating, mute := context.WithCancel(alive)
	g.mute = mute
	go g.beat(beating)

	return g
}

// Context ends when the generation is over. What must not go on for another member's partitions runs
// in it; what has to be finished and committed does not, and should not take longer than
// Config.RebalanceTimeout.
func (g *Generation) Context() context.Context { return g.ctx }

// Err returns why the generation is over, or nil as long as it is not: an error that wraps ErrRebalance
// or ErrLost, a *RefusedError, or what was given to End.
func (g *Generation) Err() error {
	if g.ctx.Err() == nil {
		return nil
	}

	return context.Cause(g.ctx)
}

// End ends the generation as far as this member is concerned. It stays in the group until it joins
// again or leaves.
func (g *Generation) End(reason error) { g.over(reason) }

// Silence ends the heartbeats, so that the group removes the member unless it joins again within its
// session. Call it for a member that cannot end, so that others do not wait for it.
func (g *Generation) Silence() { g.mute() }

// Topics are those that any member subscribes to, as the leader knows them. Others get none.
func (g *Generation) Topics() []string { return g.topics }

// Undealt reports to the leader whether partitions are assigned to nobody: the topics have other
// numbers of partitions than when they were assigned. counts should have all Topics.
func (g *Generation) Undealt(counts map[string]int) bool {
	return g.digest != nil && !bytes.Equal(g.digest, digest(g.topics, counts))
}

// quiet ends the generation and its heartbeats.
func (g *Generation) quiet(reason error) {
	g.over(reason)
	g.Silence()
	<-g.muted
}

// beat sends heartbeats. It goes on with them when the group rebalances: the member has not joined
// again yet, and is still finishing what it has begun.
func (g *Generation) beat(ctx context.Context) {
	defer close(g.muted)
	const doing = "the heartbeat"
	interval := g.member.config.HeartbeatInterval
	answered, failed := time.Now(), 0
	for pause := interval; backoff.Sleep(ctx, pause); {
		began := time.Now()
		err := g.heartbeat(ctx)
		if ctx.Err() != nil {
			return
		}
		pause = max(0, interval-time.Since(began))
		if reason := ends(err); reason != nil {
			g.over(reason)
			if !errors.Is(reason, ErrRebalance) {
				return
			}
			err = nil // It was heard.
		}
		if err == nil {
			g.member.teller.goesOn(doing)
			answered, failed = began, 0

			continue
		}
		failed++
		pause = min(interval, pauses.Pause(failed))
		if failed == 1 {
			continue // A connection was idle for too long, or its SASL session has ended: the next one will do.
		}
		t := judge(err)
		if time.Since(answered) > g.member.config.SessionTimeout {
			t.text += "; the session has run out, others may have the partitions"
		}
		g.member.teller.waits(doing, t.text, err)
	}
}

// minHeartbeatTimeout is longer than a busy machine makes an answer wait.
const minHeartbeatTimeout = 2 * time.Second

// heartbeat leaves time for another try before the session runs out. Its time includes the wait for requests before
// it. If the time is used up, the connection is closed, and the next heartbeat uses a new one.
func (g *Generation) heartbeat(ctx context.Context) error {
	g.syncing.Lock()
	defer g.syncing.Unlock()
	timeout := max(minHeartbeatTimeout, g.member.config.SessionTimeout/3)
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := g.member.coordinator.do(bounded, request{
		key: protocol.Heartbeat, oldest: 4, newest: 4, timeout: timeout,
		encode: func(w *wire.Writer, _ int16) {
			g.identify(w)
			w.NoTags()
		},
		decode: func(a *wire.Answer) kafka.Error {
			a.Int32() // throttle time

			return kafka.Error(a.Int16())
		},
	})
	if bounded.Err() != nil && ctx.Err() == nil {
		g.member.coordinator.abandon()
	}

	return err
}

// identify writes the fields that each request of a member begins with.
func (g *Generation) identify(w *wire.Writer) {
	w.CompactString(g.member.config.Group)
	w.Int32(g.ID)
	w.CompactString(g.MemberID)
	w.CompactNullable(g.member.config.InstanceID)
}
