package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/history"
)

const (
	produceEvery = 100 * time.Millisecond
	sendTimeout  = 15 * time.Second
	keysOf       = 5 // of a partition and a producer
)

// producer sends events until it is stopped, and writes down what became of each record.
type producer struct {
	name          string
	transactional bool
	mode          consume.Mode
	options       []kgo.Opt
	random        *rand.Rand
	partitions    *atomic.Int32
	haunted       <-chan struct{}
	held          func() bool // while it is true nothing is sent

	mu    sync.Mutex
	sent  []history.Sent
	count int
	known []*kgo.Record // that may be sent again
}

// newProducers makes one of each kind.
func newProducers(p plan, brokers []string, partitions *atomic.Int32, haunted <-chan struct{}, held func() bool) []*producer {
	options := []kgo.Opt{
		kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordDeliveryTimeout(sendTimeout),
	}
	with := func(more ...kgo.Opt) []kgo.Opt { return append(append([]kgo.Opt(nil), options...), more...) }
	made := []*producer{
		{name: "plain", options: with(kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))},
		{name: "idempotent", options: with()},
		{name: "transactional", options: with(kgo.TransactionalID("chaos"), kgo.TransactionTimeout(sendTimeout)), transactional: true},
	}
	for _, made := range made {
		made.random, made.mode, made.partitions, made.haunted, made.held = p.from(made.name), p.promise.Mode, partitions, haunted, held
	}

	return made
}

// run sends until the context ends. What is under way then is ended in order.
func (p *producer) run(ctx context.Context) error {
	tick := time.NewTicker(produceEvery)
	defer tick.Stop()
	var client *kgo.Client
	defer func() {
		if client != nil {
			client.Close()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return p.abortLast(context.WithoutCancel(ctx), client)
		case <-tick.C:
		}
		if p.held() {
			continue
		}
		if client == nil {
			var err error
			if client, err = kgo.NewClient(p.options...); err != nil {
				return err
			}
		}
		if err := p.send(context.WithoutCancel(ctx), client); err != nil { // A new one starts with a clean state.
			client.Close()
			client = nil
		}
	}
}

// abortLast sees that no transaction is left open: a client of the same id aborts it.
func (p *producer) abortLast(ctx context.Context, client *kgo.Client) error {
	if !p.transactional || client != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*sendTimeout)
	defer cancel()
	client, err := kgo.NewClient(p.options...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		return err
	}
	_, _, err = client.ProducerID(ctx)

	return errors.Join(err, client.EndTransaction(ctx, kgo.TryAbort))
}

// send sends some records, in a transaction if that is what this producer does, and waits for what becomes of them.
func (p *producer) send(ctx context.Context, client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 2*sendTimeout)
	defer cancel()
	records := p.next()
	if p.transactional {
		if err := client.BeginTransaction(); err != nil {
			return err
		}
	}
	at := time.Now()
	results := client.ProduceSync(ctx, records...)
	err := results.FirstErr()
	fate := history.Acknowledged
	if p.transactional {
		var endErr error
		fate, endErr = p.end(ctx, client, err == nil)
		err = errors.Join(err, endErr)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, result := range results {
		s := history.Sent{Record: recordOf(p.mode, result.Record), At: at, Producer: p.name, Fate: fate}
		if result.Err != nil && fate == history.Acknowledged {
			s.Fate = history.Unsure
		}
		p.sent = append(p.sent, s)
	}

	return err
}

// end commits a transaction, or aborts it, or leaves it to a zombie.
func (p *producer) end(ctx context.Context, client *kgo.Client, good bool) (history.Fate, error) {
	select {
	case <-p.haunted:
		return p.takeOver(ctx, client)
	default:
	}
	end, fate := kgo.TryCommit, history.Acknowledged
	if !good || p.random.IntN(4) == 0 {
		end, fate = kgo.TryAbort, history.Aborted
	}
	if err := client.EndTransaction(ctx, end); err != nil {
		return history.Unsure, err
	}

	return fate, nil
}

// takeOver has another client of the same id end the open transaction, before its zombie commits. It returns an error,
// because the zombie is of no use any more.
func (p *producer) takeOver(ctx context.Context, zombie *kgo.Client) (history.Fate, error) {
	other, err := kgo.NewClient(p.options...)
	if err != nil {
		return history.Unsure, err
	}
	defer other.Close()
	if err := other.BeginTransaction(); err != nil {
		return history.Unsure, err
	}
	if _, _, err := other.ProducerID(ctx); err != nil {
		return history.Unsure, err
	}

	return history.Aborted, errors.Join(errZombie, zombie.EndTransaction(ctx, kgo.TryCommit))
}

// errZombie says that a client is of no use any more. If its commit took effect, the checker finds it.
var errZombie = errors.New("another client has its id")

// next are the next records: new events, some of them poison, and at times one that was sent before.
func (p *producer) next() []*kgo.Record {
	var records []*kgo.Record
	for range 1 + p.random.IntN(10) {
		if len(p.known) > 0 && p.random.IntN(25) == 0 {
			again := *one(p.random, p.known)
			records = append(records, &again)

			continue
		}
		p.count++
		partition := p.random.Int32N(p.partitions.Load())
		value := []byte("{}")
		switch p.random.IntN(100) {
		case 0:
			value = poison
		case 1, 2, 3, 4, 5:
			value = chargeable
		}
		r := &kgo.Record{
			Partition: partition,
			Key:       fmt.Appendf(nil, "%s-%d-%d", p.name, partition, p.random.IntN(keysOf)),
			Value:     value,
			Headers:   []kgo.RecordHeader{{Key: consume.DefaultEventIDHeader, Value: fmt.Appendf(nil, "%s-%d", p.name, p.count)}},
		}
		sent := *r
		p.known = append(p.known, &sent)
		records = append(records, r)
	}
	if len(p.known) > 1000 {
		p.known = p.known[500:]
	}

	return records
}

func (p *producer) history() []history.Sent {
	p.mu.Lock()
	defer p.mu.Unlock()

	return append([]history.Sent(nil), p.sent...)
}
