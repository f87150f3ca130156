package group

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

// leaveTimeout bounds an orderly leave. If it fails, the group removes the member after its
// session.
const leaveTimeout = time.Second

// pauses are those between the tries of whatever fails.
var pauses = backoff.Exponential{Initial: 100 * time.Millisecond, Max: 2 * time.Second}

// Member is one member of a group. Its methods must not be called at the same time.
type Member struct {
	config      *Config
	coordinator *coordinator
	teller      *teller

	id         string      // that the coordinator has given; empty before that
	generation *Generation // the latest; nil before it
}

// New returns a member that has yet to join.
func New(config Config) *Member {
	return &Member{config: &config, coordinator: newCoordinator(&config), teller: newTeller(config.Log)}
}

// Join takes part in the next generation, with a subscription to the topics. It ends the one before, in
// which nothing may be going on. It waits for a coordinator, and for the other members, until ctx ends,
// and then returns the cause at once. A *RefusedError says that no retry can help.
func (m *Member) Join(ctx context.Context, topics []string) (*Generation, error) {
	const doing = "joining"
	m.quiet()
	for failed := 1; ; failed++ {
		generation, err := m.join(ctx, topics)
		if err == nil {
			m.teller.goesOn(doing)
			m.generation = generation

			return generation, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		t := judge(err)
		switch {
		case errors.Is(err, kafka.GroupIdNotFound):
			return nil, refusal(err, otherType)
		case t.next == refused:
			return nil, refusal(err, t.text)
		case t.next == forgot:
			m.id = ""
		case t.next == rejoin:
			failed = 1 // Others wait for this member.
		}
		if failed > 1 && t.next != rejoin { // What the next try heals is not worth a line.
			m.teller.waits(doing, t.text, err)
		}
		backoff.Sleep(ctx, pauses.Pause(failed))
	}
}

// Leave leaves the group, unless the member is a static one. It takes a
// second at most, whether ctx lives or not.
func (m *Member) Leave(ctx context.Context) {
	m.quiet()
	if m.id == "" || m.config.InstanceID != "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	for ctx.Err() == nil {
		err := m.leave(ctx)
		if next := judge(err).next; err == nil || next == forgot || next == refused {
			break
		}
		m.config.Log(slog.LevelInfo, "consumer group: leaving fails", "error", err)
		backoff.Sleep(ctx, pauses.Pause(1))
	}
	m.id = ""
}

func (m *Member) leave(ctx context.Context) error {
	return m.coordinator.do(ctx, request{
		key: protocol.LeaveGroup, oldest: 4, newest: 4, timeout: leaveTimeout,
		encode: func(w *wire.Writer, _ int16) {
			w.CompactString(m.config.Group)
			w.CompactCount(1)
			w.CompactString(m.id)
			w.CompactNullable("") // instance
			w.NoTags()
			w.NoTags()
		},
		decode: func(a *wire.Answer) kafka.Error {
			a.Int32() // throttle time
			code := a.Int16()
			for range a.CompactCount(1) {
				a.CompactBytes() // member
				a.CompactBytes() // instance
				if own := a.Int16(); code == 0 {
					code = own
				}
				a.Tags()
			}

			return kafka.Error(code)
		},
	})
}

// quiet ends the latest generation and its heartbeats.
func (m *Member) quiet() {
	if m.generation != nil {
		m.generation.quiet(ErrLost)
	}
}
