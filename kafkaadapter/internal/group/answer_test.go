package group

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// sayer answers each request with the same bytes.
type sayer struct{ body []byte }

func (sayer) CloseIdleConnections() {}

func (s sayer) RoundTrip(_ context.Context, _ net.Addr, message kafka.Request) (kafka.Response, error) { //nolint:ireturn // kafka-go's interface.
	e := message.(*exchange) //nolint:forcetypeassert // There are no others here.
	e.oldest = e.newest      // Its versions are not asked for.
	said := binary.BigEndian.AppendUint32(nil, uint32(4+len(s.body)))
	said = append(binary.BigEndian.AppendUint32(said, correlation), s.body...)

	return e.RawExchange(struct {
		io.Reader
		io.Writer
	}{bytes.NewReader(said), io.Discard})
}

// saying is a member whose coordinator says always the same.
func saying(body []byte) *Member {
	m := New(Config{
		Group: "g", ClientID: "c", SessionTimeout: time.Hour, HeartbeatInterval: time.Hour, RebalanceTimeout: time.Hour,
		Log:        func(slog.Level, string, ...any) {},
		Partitions: func(context.Context, []string) (map[string]int, error) { return map[string]int{"t": 3}, nil },
	})
	m.coordinator.transport = sayer{body}
	m.coordinator.address = kafka.TCP("broker:1")

	return m
}

// "Nothing is committed" would let a partition start anywhere.
func TestPartitionMissingInTheAnswerIsAnError(t *testing.T) {
	t.Parallel()
	var w writer
	w.noTags()
	w.int32(0) // throttle time
	w.compactCount(1)
	w.compactString("t")
	w.compactCount(1)
	w.int32(0) // partition
	w.int64(5)
	w.int32(-1)
	w.compactNullable("")
	w.int16(0)
	w.noTags()
	w.noTags()
	w.int16(0)
	w.noTags()
	g := &Generation{member: saying(w.data)}
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
		var w writer
		w.noTags()
		w.int32(0)
		w.int16(0)
		if key == protocol.JoinGroup {
			w.int32(1)
		}
		w.compactString(protocolType)
		w.compactString(assignorName)
		w.compactString("m")
		w.bytes(0)
		w.compactString("m")
		w.compactCount(1)
		w.compactString("m")
		w.compactNullable("")
		w.compactBytes(Subscription{Topics: []string{"t"}}.encode())
		w.noTags()
		w.noTags()
		f.Add(w.data)
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
			m.coordinator.address = nil
			_, _ = m.coordinator.find(t.Context())
		}); n > bound {
			t.Errorf("%d bytes take up %d", len(body), n)
		}
	})
}
