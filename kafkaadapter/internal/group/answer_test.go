package group

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

// sayer answers each request with the same bytes.
type sayer struct{ body []byte }

func (sayer) Cut(string) {}

func (s sayer) AskAny(ctx context.Context, r wire.Request) (*wire.Answer, error) {
	return s.Ask(ctx, "", 0, r)
}

func (s sayer) Ask(_ context.Context, _ string, _ time.Duration, r wire.Request) (*wire.Answer, error) {
	r.Encode(new(wire.Writer), r.Newest)
	a := &wire.Answer{Reader: wire.Reader{Data: s.body}, Version: r.Newest}
	a.Tags()

	return a, nil
}

// saying is a member whose coordinator says always the same.
func saying(body []byte) *Member {
	m := New(Config{
		Group: "g", SessionTimeout: time.Hour, HeartbeatInterval: time.Hour, RebalanceTimeout: time.Hour,
		Log:        func(slog.Level, string, ...any) {},
		Partitions: func(context.Context, []string) (map[string]int, error) { return map[string]int{"t": 3}, nil },
	})
	m.coordinator.brokers, m.coordinator.address = sayer{body}, "broker:1"

	return m
}

// "Nothing is committed" would let a partition start anywhere.
func TestPartitionMissingInTheAnswerIsAnError(t *testing.T) {
	t.Parallel()
	var w wire.Writer
	w.NoTags()
	w.Int32(0) // throttle time
	w.CompactCount(1)
	w.CompactString("t")
	w.CompactCount(1)
	w.Int32(0) // partition
	w.Int64(5)
	w.Int32(-1)
	w.CompactNullable("")
	w.Int16(0)
	w.NoTags()
	w.NoTags()
	w.Int16(0)
	w.NoTags()
	g := &Generation{member: saying(w.Data)}
	got, err := g.Committed(t.Context(), map[string]int{"t": 1})
	if err != nil || got["t"][0].Next != 5 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := g.Committed(t.Context(), map[string]int{"t": 2}); !errors.Is(err, errLeftOut) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := g.Committed(t.Context(), map[string]int{"t": 1, "u": 1}); !errors.Is(err, errLeftOut) {
		t.Errorf("%+v, %v", got, err)
	}
}

// What cannot be understood of a member's subscription does not stop the group.
func TestMemberWithGarbageForASubscription(t *testing.T) {
	t.Parallel()
	told := ""
	m := saying(nil)
	m.config.Log = func(_ slog.Level, message string, _ ...any) { told += message }
	got := m.read([]joinedMember{{"a", "", Subscription{Topics: []string{"t"}}.encode()}, {"b", "", []byte("garbage")}})
	if len(got) != 2 || len(got[0].topics) != 1 || len(got[1].topics) != 0 || told == "" {
		t.Errorf("%+v, told %q", got, told)
	}
}

// Whatever a coordinator answers, nothing panics and little is allocated.
func FuzzAnswer(f *testing.F) {
	for _, key := range []protocol.ApiKey{protocol.JoinGroup, protocol.SyncGroup} {
		var w wire.Writer
		w.NoTags()
		w.Int32(0)
		w.Int16(0)
		if key == protocol.JoinGroup {
			w.Int32(1)
		}
		w.CompactString(protocolType)
		w.CompactString(assignorName)
		w.CompactString("m")
		w.Bytes(0)
		w.CompactString("m")
		w.CompactCount(1)
		w.CompactString("m")
		w.CompactNullable("")
		w.CompactBytes(Subscription{Topics: []string{"t"}}.encode())
		w.NoTags()
		w.NoTags()
		f.Add(w.Data)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		bound := uint64(1<<20 + 500*len(body))
		if n := allocated(bound, func() {
			m := saying(body)
			if g, err := m.join(t.Context(), []string{"t"}); err == nil {
				g.quiet(nil)
			}
			g := &Generation{member: m, over: func(error) {}}
			_ = g.heartbeat(t.Context())
			_ = g.Commit(t.Context(), map[string]map[int]Offset{"t": {0: {}}})
			_, _ = g.committed(t.Context(), map[string]int{"t": 2})
			_ = m.leave(t.Context())
			m.coordinator.address = ""
			_, _ = m.coordinator.find(t.Context())
		}); n > bound {
			t.Errorf("%d bytes take up %d", len(body), n)
		}
	})
}
