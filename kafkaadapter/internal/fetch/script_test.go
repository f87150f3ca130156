package fetch

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	protocolfetch "github.com/segmentio/kafka-go/protocol/fetch"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/cluster"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

// script is a broker with one topic, "t", whose answers to fetches a test makes.
type script struct {
	fetcher *Fetcher
	asked   chan *asked // requests for records, in the order in which they come

	leaders atomic.Int32 // how often they were asked for

	mu          sync.Mutex
	connections map[net.Conn]struct{}
	most        int // connections at a time that had a request for records
}

// asked is a request for records.
type asked struct {
	*protocolfetch.Request

	answers chan []byte
}

// answer sends the body of an answer; nil closes the connection.
func (a *asked) answer(body []byte) { a.answers <- body }

// offsets are those asked for, in the order of the request.
func (a *asked) partitions() (numbers []int32) {
	for _, topic := range a.Topics {
		for _, p := range topic.Partitions {
			numbers = append(numbers, p.Partition)
		}
	}

	return numbers
}

func startScript(t *testing.T, partitions int) *script {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{asked: make(chan *asked, 1000), connections: make(map[net.Conn]struct{})}
	port := listener.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // It listens on TCP.
	var all sync.WaitGroup
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	all.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer connection.Close() //nolint:errcheck // The test is over, or wants it so.
				defer context.AfterFunc(ctx, func() { _ = connection.Close() })()
				if err := s.serve(ctx, connection, port, partitions); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
					t.Log(err)
				}
			})
		}
	})
	client := cluster.New(cluster.Config{Brokers: []string{listener.Addr().String()}, ClientID: "test", Dial: new(net.Dialer).DialContext})
	client.Follow([]string{"t"})
	t.Cleanup(func() {
		client.Close()
		stop()
		_ = listener.Close() // It makes Accept return.
		all.Wait()
	})
	s.fetcher = New(client, "test", new(Quota))

	return s
}

func (s *script) serve(ctx context.Context, connection net.Conn, port, partitions int) error {
	fetches := false
	defer func() {
		s.mu.Lock()
		delete(s.connections, connection)
		s.mu.Unlock()
	}()
	for {
		frame, err := readFrame(connection)
		if err != nil {
			return err
		}
		if key := protocol.ApiKey(binary.BigEndian.Uint16(frame[4:])); key == protocol.Metadata {
			s.leaders.Add(1)
			if _, err := connection.Write(metadata(port, partitions)); err != nil {
				return err
			}

			continue
		}
		version, id, _, message, err := protocol.ReadRequest(bytes.NewReader(frame))
		if err != nil {
			return err
		}
		switch request := message.(type) {
		case *apiversions.Request:
			err = protocol.WriteResponse(connection, version, id, &apiversions.Response{ApiKeys: []apiversions.ApiKeyResponse{
				{ApiKey: int16(protocol.Fetch), MinVersion: 4, MaxVersion: 11}, {ApiKey: int16(protocol.Metadata), MinVersion: 1, MaxVersion: 10},
			}})
		case *protocolfetch.Request:
			if !fetches {
				fetches = true
				s.mu.Lock()
				s.connections[connection] = struct{}{}
				s.most = max(s.most, len(s.connections))
				s.mu.Unlock()
			}
			a := &asked{request, make(chan []byte, 1)}
			s.asked <- a
			var body []byte
			select {
			case body = <-a.answers:
			case <-ctx.Done():
			}
			if body == nil {
				return nil
			}
			header := binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))
			_, err = connection.Write(append(binary.BigEndian.AppendUint32(header, uint32(id)), body...))
		default:
			err = fmt.Errorf("unexpected %T", request)
		}
		if err != nil {
			return err
		}
	}
}

// readFrame reads a request with its length.
func readFrame(from io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	frame := append(length[:], make([]byte, binary.BigEndian.Uint32(length[:]))...)
	_, err := io.ReadFull(from, frame[4:])

	return frame, err
}

// metadata is an answer, version 10, which kafka-go does not know: broker 1 leads all partitions of topic "t".
func metadata(port, partitions int) []byte {
	w := &wire.Writer{Data: make([]byte, 4)}
	w.Int32(wire.Correlation)
	w.NoTags()
	w.Int32(0) // throttle time
	w.CompactCount(1)
	w.Int32(1) // broker
	w.CompactString("127.0.0.1")
	w.Int32(int32(port))
	w.CompactNullable("") // rack
	w.NoTags()
	w.CompactString("cluster")
	w.Int32(1) // controller
	w.CompactCount(1)
	w.Int16(0)
	w.CompactString("t")
	w.Bytes(make([]byte, 16)...) // id
	w.Bytes(0)                   // not internal
	w.CompactCount(partitions)
	for i := range partitions {
		w.Int16(0)
		w.Int32(int32(i))
		w.Int32(1) // leader
		w.Int32(0) // its epoch
		for range 3 {
			w.CompactCount(0)
		}
		w.NoTags()
	}
	w.Int32(0) // rights
	w.NoTags()
	w.Int32(0) // rights
	w.NoTags()
	binary.BigEndian.PutUint32(w.Data, uint32(len(w.Data)-4))

	return w.Data
}

// next returns the next request that comes.
func (s *script) next(t *testing.T) *asked {
	t.Helper()
	select {
	case a := <-s.asked:
		return a
	case <-time.After(20 * time.Second):
		t.Fatal("no request comes")

		return nil
	}
}

// answerAll answers all requests from now on.
func (s *script) answerAll(t *testing.T, answer func(*asked) []byte) {
	t.Helper()
	go func() {
		for {
			select {
			case a := <-s.asked:
				a.answer(answer(a))
			case <-t.Context().Done():
				return
			}
		}
	}()
}

// fetched is what a call of Fetch has returned.
type fetched struct {
	*Response

	err error
}

// fetch calls Fetch for partitions of topic "t", each in a goroutine of its own.
func (s *script) fetch(ctx context.Context, request Request, partitions ...int) []chan fetched {
	all := make([]chan fetched, len(partitions))
	for i, p := range partitions {
		request := request
		request.Topic, request.Partition = "t", p
		all[i] = make(chan fetched, 1)
		go func() {
			r, err := s.fetcher.Fetch(ctx, request)
			all[i] <- fetched{r, err}
		}()
	}

	return all
}

// part is what an answer says of a partition.
type part struct {
	partition int
	code      kafka.Error
	records   []byte
}

// answerOf is the body of an answer, version 11.
func answerOf(throttle time.Duration, parts ...part) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(throttle.Milliseconds()))
	b = append(b, make([]byte, 2+4)...) // error, session
	b = binary.BigEndian.AppendUint32(b, 1)
	b = append(binary.BigEndian.AppendUint16(b, 1), 't')
	b = binary.BigEndian.AppendUint32(b, uint32(len(parts)))
	for _, p := range parts {
		const before = 4 + 2 + 4 + 4 + 2 + 1 + 4
		one := testResponse(nil, p.code, p.records)[before:]
		binary.BigEndian.PutUint32(one, uint32(p.partition))
		b = append(b, one...)
	}

	return b
}
