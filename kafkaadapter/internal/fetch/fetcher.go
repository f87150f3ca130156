package fetch

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/cluster"
)

// Fetcher fetches for all partitions of a client. Partitions that have the same leader share its
// requests and connections (source).
type Fetcher struct {
	client   *cluster.Client
	clientID string
	quota    *Quota
	closed   atomic.Bool

	mu      sync.Mutex
	sources map[int32]*source // by the broker's id
}

// New returns a Fetcher. The client must know the topics' leaders (cluster.Client.Follow). clientID names the client
// in the brokers' logs, metrics and quotas. A quota is shared by all that use the client id; if it is nil, what
// brokers say of quotas is not heeded. A Fetcher that is not closed lets go of its connections once nobody has
// fetched for a second.
func New(client *cluster.Client, clientID string, quota *Quota) *Fetcher {
	return &Fetcher{client: client, clientID: clientID, quota: quota, sources: make(map[int32]*source)}
}

// Close lets go of the connections that are not in use, and of the others when their answer has come.
func (f *Fetcher) Close() {
	f.closed.Store(true)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sources {
		s.mu.Lock()
		s.wake()
		s.mu.Unlock()
	}
}

// Fetch returns the next committed records. It first waits for as long as the partition's
// leader has told the client to. An error that the broker reports is a kafka.Error. A batch
// that cannot be read, or for which Memory is too small, is an *UnreadableError, once it is at
// Offset. The end of ctx ends the call at once. The caller must release the response.
func (f *Fetcher) Fetch(ctx context.Context, request Request) (*Response, error) {
	reserved := int64(0)
	for beyond := 0; ; {
		ahead := request.ahead()
		response, err := f.fetchOnce(ctx, request, reserved, ahead)
		reserved = 0
		var short *shortError
		if errors.As(err, &short) {
			if ahead {
				select {
				case <-request.After:
				case <-ctx.Done():
					return nil, ctx.Err()
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
		if beyond++; beyond > 2 || !errors.Is(err, errBeyondEnd) {
			return response, err
		}
	}
}

func (f *Fetcher) fetchOnce(ctx context.Context, request Request, reserved int64, ahead bool) (*Response, error) {
	c := newCall(request, newAccount(request.Memory, reserved, ahead))
	response, err := f.answerTo(ctx, c)
	if err != nil {
		c.account.release()

		return nil, err
	}
	c.account.settle()

	return response, nil
}

func (f *Fetcher) answerTo(ctx context.Context, c *call) (*Response, error) {
	source, err := f.sourceOf(ctx, c.Topic, c.Partition)
	if err != nil {
		return nil, err
	}
	source.add(c) //nolint:contextcheck // Its requests are those of other partitions, too.
	select {
	case a := <-c.answered:
		if !isOwn(a.err) {
			f.client.Moved(c.Topic, c.Partition, source.broker, a.err)
		}

		return a.decode(c)
	case <-ctx.Done():
		c.abandoned.Store(true)

		return nil, ctx.Err()
	}
}

// isOwn reports whether an error is about an answer, and not what the broker or the network says.
func isOwn(err error) bool {
	return errors.As(err, new(*shortError)) || errors.Is(err, ErrMalformed) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrUnsupported)
}

// call is a Request that waits for its answer.
type call struct {
	Request

	account   *account
	partition *partition // set by source.add
	prompt    bool       // there are records, as far as is known
	since     time.Time
	queued    time.Time    // when it was last put into the queue
	answered  chan *answer // has room for the one answer
	abandoned atomic.Bool  // nobody waits for the answer
}

func newCall(request Request, a *account) *call {
	return &call{Request: request, account: a, since: time.Now(), answered: make(chan *answer, 1)}
}

// maxBytes is how much of the partition the broker is asked for.
func (c *call) maxBytes() int64 { return min(int64(c.MaxBytes), c.account.limit()/4) }

// sourceOf returns the leader of a partition.
func (f *Fetcher) sourceOf(ctx context.Context, topic string, partition int) (*source, error) {
	leader, err := f.client.Leader(ctx, topic, partition)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sources[leader]
	if s == nil {
		s = newSource(f, leader)
		f.sources[leader] = s
	}

	return s, nil
}
