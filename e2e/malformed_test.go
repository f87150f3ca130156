package e2e_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// An answer that makes no sense must not end the process, or take up memory for what it only claims to hold.

// liar stands between a member and a broker, and changes some of the answers.
type liar struct {
	net.Listener

	broker      string
	true, false []byte // where the broker is, and where it is said to be
	lie         func(key int16, answer []byte) []byte
}

func newLiar(t *testing.T, b *broker.Broker, lie func(key int16, answer []byte) []byte) *liar {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // It takes no time.
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{Listener: listener, broker: b.Addrs[0], lie: lie, true: onWire(t, b.Addrs[0]), false: onWire(t, listener.Addr().String())}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go l.serve(client)
		}
	}()

	return l
}

// onWire is how an address stands in the answers of a broker.
func onWire(t *testing.T, address string) []byte {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}

	return binary.BigEndian.AppendUint32([]byte(host), uint32(number))
}

// serve passes on one request after the other.
func (l *liar) serve(client net.Conn) {
	defer client.Close()                     //nolint:errcheck // Nobody is told.
	server, err := net.Dial("tcp", l.broker) //nolint:noctx // It takes no time.
	if err != nil {
		return
	}
	defer server.Close() //nolint:errcheck // Nobody is told.
	for {
		request, err := readFrame(client)
		if err != nil {
			return
		}
		if _, err := server.Write(request); err != nil {
			return
		}
		answer, err := readFrame(server)
		if err != nil {
			return
		}
		answer = bytes.ReplaceAll(answer, l.true, l.false)
		if _, err := client.Write(l.lie(int16(binary.BigEndian.Uint16(request[4:])), answer)); err != nil {
			return
		}
	}
}

func readFrame(from io.Reader) ([]byte, error) {
	size := make([]byte, 4)
	if _, err := io.ReadFull(from, size); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(size))
	_, err := io.ReadFull(from, body)

	return slices.Concat(size, body), err
}

func TestMalformedAnswersEndNoProcess(t *testing.T) {
	t.Parallel()
	const header = 8
	for name, test := range map[string]struct {
		key kmsg.Key
		at  []int // where lengths stand in the versions that are used; negative: so far behind the topic's name
	}{
		"ApiVersions":     {kmsg.ApiVersions, []int{header + 2}},
		"Metadata":        {kmsg.Metadata, []int{header, header + 4}},
		"FindCoordinator": {kmsg.FindCoordinator, []int{header + 2}},
		"JoinGroup":       {kmsg.JoinGroup, []int{header + 2 + 4}},
		"SyncGroup":       {kmsg.SyncGroup, []int{header + 2 + 4 + 2}},
		"Heartbeat":       {kmsg.ConsumerGroupHeartbeat, []int{header + 1 + 4 + 2}},
		"OffsetFetch":     {kmsg.OffsetFetch, []int{header}},
		"OffsetCommit":    {kmsg.OffsetCommit, []int{header}},
		"ListOffsets":     {kmsg.ListOffsets, []int{header + 4}},
		"another log":     {kmsg.ListOffsets, []int{-4}}, // the partition's number
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if classic := test.key == kmsg.JoinGroup || test.key == kmsg.SyncGroup; classic && brokerShares() || test.key == kmsg.ConsumerGroupHeartbeat && !brokerShares() {
				t.Skip("members of this kind of group do not ask for it")
			}
			s := setup(t, broker.InProcess(t), 1)
			s.broker.Write(t, s.topic, events(0, 10, 1)...)
			var lies atomic.Int32
			l := newLiar(t, s.broker, func(key int16, answer []byte) []byte {
				if key == test.key.Int16() && lies.Add(1) <= 10 {
					for _, at := range test.at {
						if at < 0 {
							at = bytes.Index(answer, []byte(s.topic)) + len(s.topic) - at
						}
						binary.BigEndian.PutUint32(answer[at:], 1<<31-1)
					}
				}

				return answer
			})
			told := &throttledEvents{}
			m := s.start(t, func(c *settings) {
				told.watch(c)
				c.Brokers = []string{l.Addr().String()}
			})
			s.awaitEffects(t, 10)
			m.leave(t)
			s.verify(t, 10)
			if lies.Load() == 0 {
				t.Error("nothing malformed was sent")
			}
		})
	}
}
