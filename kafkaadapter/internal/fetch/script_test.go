package fetch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	protocolfetch "github.com/segmentio/kafka-go/protocol/fetch"
	protocolmetadata "github.com/segmentio/kafka-go/protocol/metadata"
)

// script is a broker with one topic, "t", whose answers to fetches a test makes.
type script struct {
	fetcher *Fetcher
	asked   chan *asked // requests for records, in the order in which they come

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
	transport := &kafka.Transport{MetadataTopics: []string{"t"}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		_ = listener.Close() // It makes Accept return.
		all.Wait()
	})
	s.fetcher = New(transport, kafka.TCP(listener.Addr().String()), "test", new(Quota))

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
		version, id, _, message, err := protocol.ReadRequest(connection)
		if err != nil {
			return err
		}
		switch request := message.(type) {
		case *apiversions.Request:
			err = protocol.WriteResponse(connection, version, id, &apiversions.Response{ApiKeys: []apiversions.ApiKeyResponse{
				{ApiKey: int16(protocol.Fetch), MinVersion: 4, MaxVersion: 11}, {ApiKey: int16(protocol.Metadata), MinVersion: 1, MaxVersion: 8},
			}})
		case *protocolmetadata.Request:
			response := &protocolmetadata.Response{
				Brokers: []protocolmetadata.ResponseBroker{{NodeID: 1, Host: "127.0.0.1", Port: int32(port)}},
				Topics:  []protocolmetadata.ResponseTopic{{Name: "t"}},
			}
			for i := range partitions {
				response.Topics[0].Partitions = append(response.Topics[0].Partitions, protocolmetadata.ResponsePartition{PartitionIndex: int32(i), LeaderID: 1})
			}
			err = protocol.WriteResponse(connection, version, id, response)
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
