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

	"github.com/nova-events/idempotent-consumer/internal/engine"
)

const (
	// minVersion is the first version of the request that knows transactions (Kafka 0.11).
	minVersion = 4

	// netTimeout is how long a fetch may take beyond MaxWait.
	netTimeout = 10 * time.Second

	readCommitted = 1
)

var (
	// ErrMalformed is returned when a response makes no sense or a checksum is wrong.
	ErrMalformed = errors.New("malformed fetch response")

	// ErrUnsupported is returned when a broker or a record batch is too old.
	ErrUnsupported = errors.New("unsupported")

	// ErrTooLarge is returned when a response or a decompressed batch is larger than any that is read.
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
	// Memory is shared by all requests of a process. Nil: there is no budget.
	Memory *Memory
	// After is closed when the response before this one is released, the latest of the same
	// partition; nil if there is none. Until then this request is one ahead, which leaves half of
	// the memory to others.
	After <-chan struct{}
	// Before is called before records are decoded, and says how many of them may be; nil: all.
	Before func() (engine.Care, error)
}

// ahead reports whether records of the partition are still processed.
func (r *Request) ahead() bool {
	select {
	case <-r.After:
		return false
	default:
		return r.After != nil
	}
}

// Fetch returns the next committed records. It first waits for as long as the partition's
// leader has told the client to. An error that the broker reports is a kafka.Error. A batch
// that cannot be read, or for which Memory is too small, is an *UnreadableError, once it is at
// Offset. The end of ctx ends the call at once. The caller must release the response.
func Fetch(ctx context.Context, transport *kafka.Transport, brokers net.Addr, request Request) (*Response, error) {
	reserved := int64(0)
	for beyond := 0; ; {
		ahead := request.ahead()
		response, err := fetchOnce(ctx, transport, brokers, request, reserved, ahead)
		reserved = 0
		var short *shortError
		if errors.As(err, &short) {
			if ahead {
				select {
				case <-request.After:
				case <-ctx.Done():
					return nil, ctx.Err() //nolint:wrapcheck // The caller wraps it.
				}

				continue
			}
			// It is not known what all of it needs: twice as much each time leads there.
			reserved = min(2*short.bytes, request.Memory.total)
			if err := request.Memory.wait(ctx, reserved); err != nil {
				return nil, err
			}

			continue
		}
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

func fetchOnce(ctx context.Context, transport *kafka.Transport, brokers net.Addr, request Request, reserved int64, ahead bool) (*Response, error) {
	ctx, cancel := context.WithTimeout(ctx, request.MaxWait+netTimeout)
	defer cancel()
	e := &exchange{Request: request, account: newAccount(request.Memory, reserved, ahead)}
	message, err := transport.RoundTrip(ctx, brokers, e)
	var response *Response
	if err == nil {
		response, err = e.decode(message.(*answer)) //nolint:forcetypeassert // RawExchange returns nothing else.
	}
	if err != nil {
		e.account.release()

		return nil, err
	}
	request.Quota.throttle(e.leader, response.Throttle)
	e.account.settle()

	return response, nil
}

// exchange is a Request on its way through kafka-go's Transport.
type exchange struct {
	Request

	version int16
	leader  int32
	account *account
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
	}

	return e.read(connection, size)
}

// answer is what the broker has sent. It is decoded by who has asked: that takes time, and waits
// for others, and the connection can be used meanwhile.
type answer struct {
	body  *body
	short *shortError // there was no memory for a body
}

// ApiKey implements protocol.Message.
func (*answer) ApiKey() protocol.ApiKey { return protocol.Fetch } //nolint:revive // kafka-go's spelling.

// read reads the body of a response. One that is short of memory is no error, after which kafka-go
// would close the connection.
func (e *exchange) read(connection io.Reader, size int64) (*answer, error) {
	if size > e.account.limit() {
		return nil, e.tooLarge(connection, size)
	}
	err := e.account.grow(bodyCost(size))
	var short *shortError
	if errors.As(err, &short) {
		_, err := io.CopyN(io.Discard, connection, size)

		return &answer{short: short}, err //nolint:wrapcheck // The caller wraps it.
	}
	if err != nil {
		return nil, e.tooLarge(connection, size)
	}
	body := newBody(int(size))

	return &answer{body: body}, body.read(connection, int(size))
}

// decode decodes an answer, whose body must not be used any more.
func (e *exchange) decode(a *answer) (*Response, error) {
	if a.short != nil {
		return nil, a.short
	}
	response, err := decode(e.Request, e.version, a.body.buffer, e.account)
	if err != nil {
		return nil, err
	}
	size := int64(len(a.body.buffer))
	if response.shared {
		e.account.shrink(bodyCost(size) - size)
	} else {
		a.body.release()
		e.account.shrink(bodyCost(size))
	}

	return response, nil
}

// tooLarge makes the error about a response that is larger than all memory. Brokers send so much
// only if the first batch is so large, and its header tells where it ends.
func (e *exchange) tooLarge(connection io.Reader, size int64) error {
	const enough = 16 << 10
	err := fmt.Errorf("response of %d bytes: %w, %d are allowed", size, ErrTooLarge, e.account.limit())
	body := make([]byte, min(size, enough))
	if _, err := io.ReadFull(connection, body); err != nil {
		return err //nolint:wrapcheck // The caller wraps it.
	}

	return decodeTooLarge(e.Request, e.version, body, err)
}

func (e *exchange) encode() *protocolfetch.Request {
	maxBytes := int32(min(int64(e.MaxBytes), e.account.limit()/4)) //nolint:gosec // It is small enough.

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
