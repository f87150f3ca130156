package franzadapter

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// maxAnswer is how much a broker sends in one answer. franz-go reads 100 MiB at most.
	maxAnswer = 50 << 20

	// shortWait is how long a broker waits with its first answers while some of its partitions are not
	// asked for, because what they have is processed: they are to be asked for soon. It doubles with each
	// answer that has nothing.
	shortWait = 5 * time.Millisecond
)

// errLeftOut is that of a partition of which an answer says nothing.
var errLeftOut = errors.New("the answer leaves the partition out")

// puller fetches for all partitions of a member: from each broker in one request for those that want
// records. A partition wants none while it has enough, so that a slow one neither holds others nor
// takes up more than its share.
type puller struct {
	client   *kgo.Client
	view     *view
	config   *Config
	budget   *budget
	requests sync.WaitGroup

	mu      sync.Mutex
	brokers map[int32]*brokerPuller
	members map[partition]int // how many workers partitions have: 1, or one more that hangs
}

func newPuller(client *kgo.Client, view *view, config *Config) *puller {
	p := &puller{client: client, view: view, config: config, brokers: make(map[int32]*brokerPuller), members: make(map[partition]int)}
	p.budget = &budget{limit: config.MaxBufferedBytes, freed: p.wakeAll}

	return p
}

// want is a partition of which records are wanted.
type want struct {
	partition partition
	topicID   [16]byte
	offset    int64
	after     <-chan struct{} // closed when no records of the partition are processed any more; nil if none are
	empty     bool            // an answer without records is wanted, too
	answer    chan answer     // with room for one
}

// ahead reports whether records of the partition are still processed.
func (w *want) ahead() bool {
	select {
	case <-w.after:
		return false
	default:
		return w.after != nil
	}
}

// answer is what a broker says of a partition. bytes are those taken from the budget.
type answer struct {
	partition kmsg.FetchResponseTopicPartition
	throttle  time.Duration
	bytes     int64
	err       error
}

// fetch returns the answer to a request for a partition.
func (p *puller) fetch(ctx context.Context, w *want) (answer, error) {
	leader, err := p.view.leader(w.partition)
	if err != nil {
		p.view.stale()

		return answer{}, err
	}
	b := p.broker(ctx, leader)
	b.add(w)
	select {
	case a := <-w.answer:
		return a, a.err
	case <-ctx.Done():
	}
	if b.remove(w) {
		return answer{}, ctx.Err()
	}
	a := <-w.answer // It is under way.
	p.budget.add(-a.bytes)

	return answer{}, ctx.Err()
}

// fetchOne asks for a partition besides the requests for all. It does not wait for the budget: what the answer takes
// of it for a moment is given back before fetchOne returns.
func (p *puller) fetchOne(ctx context.Context, w *want) (answer, error) {
	leader, err := p.view.leader(w.partition)
	if err != nil {
		p.view.stale()

		return answer{}, err
	}
	b := &brokerPuller{puller: p, id: leader, wants: make(map[partition]*want)}
	b.add(w)
	most := int64(p.config.MaxBytes)
	p.budget.add(most) // ask gives it back, whatever comes.
	b.ask(ctx, []*want{w}, most, 0)
	a := <-w.answer
	p.budget.add(-a.bytes)
	a.bytes = 0

	return a, a.err
}

// broker returns the puller of a broker, which runs until the client is closed.
func (p *puller) broker(ctx context.Context, id int32) *brokerPuller {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.brokers[id]
	if b == nil {
		b = &brokerPuller{puller: p, id: id, wants: make(map[partition]*want), wake: make(chan struct{}, 1)}
		p.brokers[id] = b
		ctx = context.WithoutCancel(ctx)
		p.requests.Go(func() { b.run(ctx) })
	}

	return b
}

// wakeAll has all brokers look again at what is wanted.
func (p *puller) wakeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.brokers {
		b.look()
	}
}

// join and leave say which partitions are assigned.
func (p *puller) join(one partition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.members[one]++
}

func (p *puller) leave(one partition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.members[one]--; p.members[one] == 0 {
		delete(p.members, one)
	}
}

// ledBy is how many of the assigned partitions a broker leads.
func (p *puller) ledBy(broker int32) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for one := range p.members {
		if leader, err := p.view.leader(one); err == nil && leader == broker {
			n++
		}
	}

	return n
}
