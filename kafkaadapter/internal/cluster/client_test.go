package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/nova-events/idempotent-consumer/internal/await"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

// script is a broker whose answers a test makes.
type script struct {
	net.Listener

	answer func(key protocol.ApiKey, w *wire.Writer) // adds the body

	mu          sync.Mutex
	connections int // that were opened
	open        int
	asked       map[protocol.ApiKey]int
}

func startScript(t *testing.T, answer func(key protocol.ApiKey, w *wire.Writer)) *script {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{Listener: listener, answer: answer, asked: make(map[protocol.ApiKey]int)}
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	t.Cleanup(func() { _ = listener.Close() }) // It makes Accept return.
	all.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			s.count(+1)
			all.Go(func() {
				defer s.count(-1)
				defer connection.Close() //nolint:errcheck // The client has closed it.
				for err := error(nil); err == nil; {
					err = s.serve(connection)
				}
			})
		}
	})

	return s
}

func (s *script) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open += n
	s.connections += max(0, n)
}

func (s *script) serve(connection net.Conn) error {
	var length [4]byte
	if _, err := io.ReadFull(connection, length[:]); err != nil {
		return err
	}
	request := make([]byte, binary.BigEndian.Uint32(length[:]))
	if _, err := io.ReadFull(connection, request); err != nil {
		return err
	}
	key := protocol.ApiKey(binary.BigEndian.Uint16(request))
	s.mu.Lock()
	s.asked[key]++
	s.mu.Unlock()
	w := &wire.Writer{Data: make([]byte, len(length))}
	w.Int32(wire.Correlation)
	if key == protocol.ApiVersions {
		w.Int16(0)
		w.Count(3)
		for _, known := range []protocol.ApiKey{protocol.Metadata, protocol.Heartbeat, protocol.ListOffsets} {
			w.Int16(int16(known))
			w.Int16(0)
			w.Int16(metadataVersion)
		}
	} else {
		s.answer(key, w)
	}

	return w.Send(connection)
}

func (s *script) address() string { return s.Addr().String() }

// connect returns a client that knows the broker.
func (s *script) connect(t *testing.T) *Client {
	t.Helper()
	c := New(Config{Brokers: []string{s.address()}, ClientID: "test", Dial: new(net.Dialer).DialContext})
	t.Cleanup(c.Close)

	return c
}

// tell writes metadata: topic "t" has one partition, which the broker leads that is there.
func tell(t *testing.T, w *wire.Writer, leader int32, address string) {
	t.Helper()
	host, text, err := net.SplitHostPort(address)
	port, parsed := strconv.ParseUint(text, 10, 16)
	if err := errors.Join(err, parsed); err != nil {
		t.Error(err)
	}
	w.NoTags()
	w.Int32(0) // throttle time
	w.CompactCount(1)
	w.Int32(leader)
	w.CompactString(host)
	w.Int32(int32(port))
	w.CompactNullable("") // rack
	w.NoTags()
	w.CompactString("cluster")
	w.Int32(leader) // controller
	w.CompactCount(1)
	w.Int16(0)
	w.CompactString("t")
	w.Bytes(make([]byte, 16)...) // id
	w.Bytes(0)                   // not internal
	w.CompactCount(1)
	w.Int16(0)
	w.Int32(0) // partition
	w.Int32(leader)
	w.Int32(0) // its epoch
	for range 3 {
		w.CompactCount(0)
	}
	w.NoTags()
	w.Int32(0) // rights
	w.NoTags()
	w.Int32(0) // rights
	w.NoTags()
}

var heartbeat = wire.Request{Key: protocol.Heartbeat, Encode: func(*wire.Writer, int16) {}}

// A leader is asked for again once it has moved, and not before.
func TestLeaderIsAskedForOnceItHasMoved(t *testing.T) {
	t.Parallel()
	var s *script
	s = startScript(t, func(_ protocol.ApiKey, w *wire.Writer) {
		s.mu.Lock()
		n := s.asked[protocol.Metadata]
		s.mu.Unlock()
		tell(t, w, int32(n), s.address())
	})
	c := s.connect(t)
	c.Follow([]string{"t"})
	leader := func(want int32) {
		t.Helper()
		if got, err := c.Leader(t.Context(), "t", 0); got != want || err != nil {
			t.Errorf("leader %d, %v; want %d", got, err, want)
		}
	}
	asked := func(at time.Time) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.asked = at
	}
	leader(1)
	leader(1)
	for _, err := range []error{nil, kafka.OffsetOutOfRange, kafka.TopicAuthorizationFailed, wire.ErrMalformed, context.Canceled} {
		c.Moved("t", 0, 1, err)
		leader(1)
	}
	for i, err := range []error{kafka.NotLeaderForPartition, kafka.FencedLeaderEpoch, kafka.UnknownLeaderEpoch, io.EOF} {
		now := int32(i + 1)
		asked(time.Now().Add(-askPause)) // The client does not ask more often.
		c.Moved("t", 0, now+1, err)      // Somebody else knew it first.
		leader(now)
		c.Moved("t", 0, now, err)
		leader(now + 1)
		c.Moved("t", 0, now+1, err)
		asked(time.Now().Add(time.Hour)) // However late this test is, it has just been.
		if _, err := c.Leader(t.Context(), "t", 0); !errors.Is(err, protocol.ErrNoLeader) {
			t.Errorf("asked again at once: %v", err)
		}
		c.learn(Metadata{brokers: c.brokers, leaders: map[string][]int32{"t": {now + 1}}})
	}
}

// Requests share one connection, however many are under way.
func TestRequestsShareAConnection(t *testing.T) {
	t.Parallel()
	s := startScript(t, func(protocol.ApiKey, *wire.Writer) {})
	c := s.connect(t)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := c.Ask(t.Context(), s.address(), RequestTimeout, heartbeat); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connections != 1 {
		t.Errorf("%d connections", s.connections)
	}
}

// A request that is not answered holds up those behind it only until somebody cuts the connection.
func TestConnectionThatHangsIsCut(t *testing.T) {
	t.Parallel()
	hang, hangs := make(chan struct{}), make(chan struct{}, 1)
	var asked atomic.Int32
	s := startScript(t, func(protocol.ApiKey, *wire.Writer) {
		if asked.Add(1) == 1 {
			hangs <- struct{}{}
			<-hang
		}
	})
	defer close(hang)
	c := s.connect(t)
	first := make(chan error, 1)
	go func() {
		_, err := c.Ask(t.Context(), s.address(), time.Hour, heartbeat)
		first <- err
	}()
	<-hangs
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Ask(ctx, s.address(), time.Hour, heartbeat); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("behind one that hangs: %v", err)
	}
	c.Cut(s.address())
	if err := <-first; err == nil {
		t.Error("the one that hangs was answered")
	}
	if _, err := c.Ask(t.Context(), s.address(), RequestTimeout, heartbeat); err != nil {
		t.Error(err)
	}
}

// A connection to a broker that has left the cluster, or has another address, is not kept.
func TestConnectionsToFormerBrokersAreClosed(t *testing.T) {
	t.Parallel()
	var s *script
	other := startScript(t, func(_ protocol.ApiKey, w *wire.Writer) { tell(t, w, 2, s.address()) })
	s = startScript(t, func(_ protocol.ApiKey, w *wire.Writer) { tell(t, w, 2, s.address()) })
	c := other.connect(t)
	if _, err := c.Metadata(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the end of the connection", func() bool {
		other.mu.Lock()
		defer other.mu.Unlock()

		return other.open == 0
	})
	c.Follow([]string{"t"})
	if leader, err := c.Leader(t.Context(), "t", 0); leader != 2 || err != nil {
		t.Error(leader, err)
	}
	c.Close()
	if _, err := c.Open(t.Context(), 2); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// signalling is a context that tells when somebody begins to wait, for something else or its end.
type signalling struct {
	context.Context //nolint:containedctx // It is one.

	waits func()
}

func (s signalling) Done() <-chan struct{} {
	s.waits()

	return s.Context.Done()
}

// However many partitions start, a heartbeat waits for one of them at most.
func TestHeartbeatOvertakesPartitionsThatStart(t *testing.T) {
	t.Parallel()
	const partitions = 1000
	var s *script
	started := make(chan struct{})
	var before atomic.Int32 // requests of partitions before the heartbeat was answered
	var beaten atomic.Bool
	s = startScript(t, func(key protocol.ApiKey, w *wire.Writer) {
		switch key {
		case protocol.Metadata:
			tell(t, w, 1, s.address())
		case protocol.ListOffsets:
			<-started
			if !beaten.Load() {
				before.Add(1)
			}
			offsetsAnswer(w)
		default:
			beaten.Store(true)
		}
	})
	c := s.connect(t)
	c.Follow([]string{"t"})
	if _, err := c.Leader(t.Context(), "t", 0); err != nil {
		t.Fatal(err)
	}
	var all, waiting sync.WaitGroup
	for range partitions {
		waiting.Add(1)
		all.Go(func() {
			if first, last, err := c.Ends(signalling{t.Context(), sync.OnceFunc(waiting.Done)}, "t", 0); err != nil || first[0] != 7 || last[0] != 7 {
				t.Errorf("%v, %v, %v", first, last, err)
			}
		})
	}
	waiting.Wait()
	if _, err := c.Ask(signalling{t.Context(), sync.OnceFunc(func() { close(started) })}, s.address(), RequestTimeout, heartbeat); err != nil {
		t.Error(err)
	}
	all.Wait()
	if n := before.Load(); n > 2 {
		t.Errorf("the heartbeat waited for %d requests of partitions", n)
	}
}

// offsetsAnswer says that the ends of partition 0 of topic "t" are at 7.
func offsetsAnswer(w *wire.Writer) {
	w.Int32(0) // throttle time
	w.Count(1)
	w.Text("t")
	w.Count(1)
	w.Int32(0) // partition
	w.Int16(0)
	w.Int64(0) // time
	w.Int64(7)
	w.Int32(0) // leader epoch
}
