// Package fetch reads records from a partition of a Kafka topic over kafka-go's Transport,
// which gives it connections, TLS, SASL and the way to the partition's leader.
//
// It decodes responses itself, because kafka-go's readers deliver the records of aborted
// transactions and stop at holes that compaction has made. The rules are those of Kafka's own
// consumer (org.apache.kafka.clients.consumer.internals.CompletedFetch) and its message
// format (https://kafka.apache.org/documentation/#messageformat).
package fetch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	protocolfetch "github.com/segmentio/kafka-go/protocol/fetch"
)

const (
	// minVersion is the first version of the request that knows transactions (Kafka 0.11).
	minVersion = 4

	// maxResponseBytes bounds what is read from a broker at once. Kafka itself accepts batches
	// of up to 2 GiB, but by default of 1 MiB.
	maxResponseBytes = 256 << 20

	// netTimeout is how long a fetch may take beyond MaxWait.
	netTimeout = 10 * time.Second

	readCommitted = 1
)

var (
	// ErrMalformed is returned when a response makes no sense or a checksum is wrong.
	ErrMalformed = errors.New("malformed fetch response")

	// ErrUnsupported is returned when a broker or a record batch is too old.
	ErrUnsupported = errors.New("unsupported")

	// ErrTooLarge is returned when a response or a decompressed batch is beyond all measure.
	ErrTooLarge = errors.New("too large")

	// errBeyondEnd is that of a batch beyond the end of the log. The log may have grown while
	// the broker has made its answer, so asking again tells.
	errBeyondEnd = fmt.Errorf("%w: beyond the end of the log", ErrMalformed)
)

// Request asks for the records of one partition, from Offset on.
type Request struct {
	Topic     string
	Partition int
	Offset    int64
	// MaxBytes is how much the broker sends, but never less than one whole batch.
	MaxBytes int
	// MaxWait is how long the broker waits if there is nothing.
	MaxWait time.Duration
	// ClientID names the client in the broker's logs, metrics and quotas.
	ClientID string
	// Quota is shared by all requests of a client. Nil: what a broker says of quotas is not
	// heeded.
	Quota *Quota
}

// Fetch returns the next committed records. It first waits for as long as the partition's
// leader has told the client to. An error that the broker reports is a kafka.Error. A batch
// that cannot be read is an *UnreadableError, once it is at Offset. The end of ctx ends the
// call at once.
func Fetch(ctx context.Context, transport *kafka.Transport, brokers net.Addr, request Request) (*Response, error) {
	for beyond := 0; ; {
		response, err := fetchOnce(ctx, transport, brokers, request)
		var throttled *throttledError
		if errors.As(err, &throttled) {
			if err := throttled.wait(ctx); err != nil {
				return nil, err
			}

			continue
		}
		if beyond++; beyond > 2 || !errors.Is(err, errBeyondEnd) {
			return response, err
		}
	}
}

func fetchOnce(ctx context.Context, transport *kafka.Transport, brokers net.Addr, request Request) (*Response, error) {
	ctx, cancel := context.WithTimeout(ctx, request.MaxWait+netTimeout)
	defer cancel()
	e := &exchange{Request: request}
	message, err := transport.RoundTrip(ctx, brokers, e)
	if err != nil {
		return nil, err //nolint:wrapcheck // The caller wraps it.
	}
	response := message.(*Response) //nolint:forcetypeassert // RawExchange returns nothing else.
	request.Quota.throttle(e.leader, response.Throttle)

	return response, nil
}

// exchange is a Request on its way through kafka-go's Transport.
type exchange struct {
	Request

	version int16
	leader  int32
}

var (
	_ protocol.RawExchanger  = (*exchange)(nil)
	_ protocol.BrokerMessage = (*exchange)(nil)
)

// ApiKey implements protocol.Message.
func (e *exchange) ApiKey() protocol.ApiKey { return protocol.Fetch } //nolint:revive // kafka-go's spelling.

// Broker implements protocol.BrokerMessage: the leader of the partition. It is called before
// the request is given to a connection.
func (e *exchange) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	leader, err := leaderOf(cluster, e.Topic, e.Partition)
	if err != nil {
		return leader, err
	}
	if left := e.Quota.left(leader.ID); left > 0 {
		return leader, &throttledError{left}
	}
	e.leader = leader.ID

	return leader, nil
}

// leaderOf returns the broker that leads a partition.
func leaderOf(cluster protocol.Cluster, topic string, partition int) (protocol.Broker, error) {
	request := protocolfetch.Request{Topics: []protocolfetch.RequestTopic{{
		Topic: topic, Partitions: []protocolfetch.RequestPartition{{Partition: int32(partition)}}, //nolint:gosec // The broker has assigned it.
	}}}

	return request.Broker(cluster) //nolint:wrapcheck // It is kafka-go's own.
}

// Required implements protocol.RawExchanger. It is called with what the connection speaks.
func (e *exchange) Required(versions map[protocol.ApiKey]int16) bool {
	e.version = versions[protocol.Fetch]

	return true
}

// RawExchange implements protocol.RawExchanger. After an error kafka-go closes the connection.
func (e *exchange) RawExchange(connection io.ReadWriter) (protocol.Message, error) { //nolint:ireturn // kafka-go's interface.
	if e.version < minVersion {
		return nil, fmt.Errorf("%w: the broker speaks version %d of the fetch request, %d is needed (Kafka 0.11)", ErrUnsupported, e.version, minVersion)
	}
	if err := protocol.WriteRequest(connection, e.version, correlation, e.ClientID, e.encode()); err != nil {
		return nil, err //nolint:wrapcheck // The caller wraps it.
	}

	var header [8]byte
	if _, err := io.ReadFull(connection, header[:]); err != nil {
		return nil, err //nolint:wrapcheck // The caller wraps it.
	}
	size := int64(binary.BigEndian.Uint32(header[:])) - 4
	switch got := binary.BigEndian.Uint32(header[4:]); {
	case got != correlation:
		return nil, fmt.Errorf("%w: it answers request %d, not %d", ErrMalformed, got, correlation)
	case size < 0:
		return nil, fmt.Errorf("%w: its length is negative", ErrMalformed)
	case size > maxResponseBytes:
		return nil, fmt.Errorf("response of %d bytes: %w, %d are allowed", size, ErrTooLarge, maxResponseBytes)
	}

	return readResponse(connection, int(size), e.Request, e.version)
}

// readResponse reads and decodes the body of a response.
func readResponse(connection io.Reader, size int, request Request, version int16) (*Response, error) {
	body := newBody(size)
	if err := body.read(connection, size); err != nil {
		return nil, err
	}
	response, err := decode(request, version, body.buffer)
	if err != nil {
		return nil, err
	}
	if !response.shared {
		body.release()
	}

	return response, nil
}

func (e *exchange) encode() *protocolfetch.Request {
	maxBytes := int32(min(e.MaxBytes, maxResponseBytes)) //nolint:gosec // It is small enough.

	return &protocolfetch.Request{
		ReplicaID:      -1,
		MaxWaitTime:    int32(e.MaxWait.Milliseconds()), //nolint:gosec // New checks its range.
		MinBytes:       1,
		MaxBytes:       maxBytes,
		IsolationLevel: readCommitted,
		SessionEpoch:   -1, // no session
		Topics: []protocolfetch.RequestTopic{{
			Topic: e.Topic,
			Partitions: []protocolfetch.RequestPartition{{
				Partition:          int32(e.Partition), //nolint:gosec // The broker has assigned it.
				CurrentLeaderEpoch: -1,
				FetchOffset:        e.Offset,
				LogStartOffset:     -1,
				PartitionMaxBytes:  maxBytes,
			}},
		}},
	}
}
