package foreign

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-events/idempotent-consumer/internal/logbuffer"
)

// Franz returns a client on franz-go with that assignor, in this process.
func Franz(assignor kgo.GroupBalancer) Client {
	return func(t testing.TB, config Config) Member {
		t.Helper()

		return startFranz(t, config, assignor)
	}
}

func startFranz(t testing.TB, config Config, assignor kgo.GroupBalancer) Member { //nolint:ireturn // It is one of several kinds.
	t.Helper()
	m := &franz{ended: make(chan struct{})}
	options := []kgo.Opt{
		kgo.SeedBrokers(config.Brokers...), kgo.ConsumerGroup(config.Group), kgo.ConsumeTopics(config.Topic), kgo.ClientID("franz"),
		kgo.Balancers(assignor), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(config.SessionTimeout), kgo.HeartbeatInterval(config.HeartbeatInterval),
		kgo.BlockRebalanceOnPoll(), kgo.DisableAutoCommit(),
		kgo.WithLogger(kgo.BasicLogger(&m.said, kgo.LogLevelWarn, nil)),
	}
	if config.InstanceID != "" {
		options = append(options, kgo.InstanceID(config.InstanceID))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(context.WithoutCancel(t.Context()))
	m.leave = leave
	go func() {
		defer close(m.ended)
		defer client.CloseAllowingRebalance()
		for ctx.Err() == nil {
			fetches := client.PollFetches(ctx)
			fetches.EachRecord(func(r *kgo.Record) { config.Consumed(int(r.Partition), r.Offset) })
			commit(ctx, client)
			client.AllowRebalance()
		}
	}()
	t.Cleanup(func() { m.Leave(t) })

	return m
}

// commit commits what was polled, also when the member is to leave. A failure is in the client's log, and the
// records are consumed again.
func commit(ctx context.Context, client *kgo.Client) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	_ = client.CommitUncommittedOffsets(ctx)
}

// franz is a member that runs franz-go.
type franz struct {
	leave context.CancelFunc
	ended chan struct{}
	said  logbuffer.Buffer
}

// Leave implements Member.
func (m *franz) Leave(t testing.TB) {
	t.Helper()
	m.leave()
	select {
	case <-m.ended:
	case <-time.After(leaveTimeout):
		t.Errorf("a member does not leave\n%s", m.Said())
	}
}

// Ended implements Member.
func (m *franz) Ended() bool {
	select {
	case <-m.ended:
		return true
	default:
		return false
	}
}

// Said implements Member.
func (m *franz) Said() string { return m.said.String() }
