package franzadapter

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// brokerPuller asks one broker for what is wanted of it, one request after the other.
type brokerPuller struct {
	puller *puller
	id     int32
	wake   chan struct{}

	mu    sync.Mutex
	wants map[partition]*want
	grown bool // something is wanted since the latest request
}

func (b *brokerPuller) add(w *want) {
	b.mu.Lock()
	b.wants[w.partition], b.grown = w, true
	b.mu.Unlock()
	b.look()
}

// remove takes a want back, and reports whether it was not answered.
func (b *brokerPuller) remove(w *want) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wants[w.partition] != w {
		return false
	}
	delete(b.wants, w.partition)

	return true
}

func (b *brokerPuller) look() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run asks until the client is closed.
func (b *brokerPuller) run(ctx context.Context) {
	wait := shortWait
	for {
		wants, reserved, grown := b.next()
		if len(wants) == 0 {
			select {
			case <-b.wake:
				continue
			case <-b.puller.client.Context().Done():
				return
			}
		}
		if grown {
			wait = shortWait
		}
		if len(wants) >= b.puller.ledBy(b.id) {
			wait = b.puller.config.MaxWait // Nothing else can be wanted meanwhile.
		}
		if b.ask(ctx, wants, reserved, min(wait, b.puller.config.MaxWait)) {
			wait = shortWait
		} else {
			wait = min(2*wait, b.puller.config.MaxWait)
		}
		if b.puller.client.Context().Err() != nil {
			return
		}
	}
}

// next returns what is to be asked for now, and how many bytes are reserved for all of it together. Whatever
// may have some is asked for, however many there are: one that is left out would not be heard of before
// the answer has come.
func (b *brokerPuller) next() (wants []*want, reserved int64, grown bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	most := int64(b.puller.config.MaxBytes)
	for _, w := range b.wants { // in random order, so that none is always the last
		got := b.puller.budget.reserve(min(most, maxAnswer-reserved), w.ahead())
		if got > 0 || reserved > 0 && (!w.ahead() || !b.puller.budget.isScarce()) {
			wants, reserved = append(wants, w), reserved+got
		}
	}
	grown, b.grown = b.grown, false

	return wants, reserved, grown
}

// ask asks once and hands out the answers. It reports whether there was any.
func (b *brokerPuller) ask(ctx context.Context, wants []*want, reserved int64, wait time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, wait+requestTimeout)
	defer cancel()
	stop := context.AfterFunc(b.puller.client.Context(), cancel) //nolint:contextcheck // It ends both ways.
	defer stop()
	request := b.request(wants, reserved, wait)
	response, err := b.puller.client.Broker(int(b.id)).Request(ctx, request)
	var answers *kmsg.FetchResponse
	if err == nil {
		answers = response.(*kmsg.FetchResponse) //nolint:forcetypeassert // It answers the request.
		err = kerr.ErrorForCode(answers.ErrorCode)
	}
	if err != nil {
		b.puller.budget.add(-reserved)
		b.puller.view.stale()
		for _, w := range wants {
			b.give(w, answer{err: err})
		}

		return true
	}

	return b.handOut(wants, reserved, answers)
}

func (b *brokerPuller) request(wants []*want, reserved int64, wait time.Duration) *kmsg.FetchRequest {
	request := kmsg.NewPtrFetchRequest()
	request.MaxWaitMillis = int32(wait.Milliseconds()) //nolint:gosec // New checks its range.
	request.MinBytes = 1
	request.MaxBytes = int32(reserved) //nolint:gosec // It is at most maxAnswer, or MaxBytes.
	request.IsolationLevel = 1         // read committed
	request.SessionEpoch = -1          // no session
	topics := make(map[string]int)
	for _, w := range wants {
		i, ok := topics[w.partition.topic]
		if !ok {
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = w.partition.topic, w.topicID
			i = len(request.Topics)
			topics[t.Topic], request.Topics = i, append(request.Topics, t)
		}
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = w.partition.number, w.offset, int32(min(int64(b.puller.config.MaxBytes), reserved)) //nolint:gosec // New checks its range.
		request.Topics[i].Partitions = append(request.Topics[i].Partitions, p)
	}

	return request
}

// handOut gives everyone their part. Partitions without records are asked for again, unless it is to be
// known that they have none.
func (b *brokerPuller) handOut(wants []*want, reserved int64, answers *kmsg.FetchResponse) bool {
	type place struct {
		id     [16]byte
		name   string
		number int32
	}
	found := make(map[place]kmsg.FetchResponseTopicPartition, len(wants))
	for _, t := range answers.Topics {
		for _, p := range t.Partitions {
			found[place{t.TopicID, t.Topic, p.Partition}] = p
		}
	}
	some, throttle := false, time.Duration(answers.ThrottleMillis)*time.Millisecond
	for _, w := range wants {
		p, ok := found[place{w.topicID, "", w.partition.number}]
		if !ok {
			p, ok = found[place{[16]byte{}, w.partition.topic, w.partition.number}] // before Kafka 3.1
		}
		a := answer{partition: p, throttle: throttle}
		switch {
		case len(answers.Topics) == 0 && throttle > 0: // The client is over its quota.
		case !ok:
			a.err = errLeftOut
		case p.ErrorCode != 0:
			a.err = kerr.ErrorForCode(p.ErrorCode)
			if moved(a.err) {
				b.puller.view.stale()
			}
		case len(p.RecordBatches) == 0 && p.HighWatermark <= w.offset && !w.empty:
			continue // If there are records, an open transaction holds them back.
		}
		some = true
		a.partition.RecordBatches = bytes.Clone(p.RecordBatches) // Else each holds on to all.
		a.bytes = int64(len(p.RecordBatches))
		b.puller.budget.add(a.bytes)
		b.give(w, a)
	}
	b.puller.budget.add(-reserved)

	return some
}

// give answers a want, unless nobody waits for the answer any more.
func (b *brokerPuller) give(w *want, a answer) {
	if b.remove(w) {
		w.answer <- a
	} else {
		b.puller.budget.add(-a.bytes)
	}
}

// moved reports whether an error says that another broker leads the partition, or that it is not known.
func moved(err error) bool {
	return errors.Is(err, kerr.NotLeaderForPartition) || errors.Is(err, kerr.FencedLeaderEpoch) || errors.Is(err, kerr.UnknownLeaderEpoch) ||
		errors.Is(err, kerr.LeaderNotAvailable) || errors.Is(err, kerr.ReplicaNotAvailable) || errors.Is(err, kerr.KafkaStorageError) || unknownTopic(err)
}
