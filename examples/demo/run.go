package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
)

// errWrongLedger is returned when the guarded consumer lost or doubled a payment.
var errWrongLedger = errors.New("the ledger behind the guard is wrong")

// run carries out the demo and reports to out; progress goes to messages.
func run(ctx context.Context, s settings, out, messages io.Writer) (err error) {
	began := time.Now()
	say := func(what string) { _, _ = fmt.Fprintln(messages, what) }
	servers, err := startServers(ctx, s, messages)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.stop()) }()

	topic, err := createTopic(ctx, servers.brokers, "idem_demo_"+uuid.NewString()[:8], s.partitions)
	if err != nil {
		return err
	}
	defer topic.close()
	if len(s.brokers) > 0 {
		defer func() { err = errors.Join(err, topic.remove(ctx)) }()
	}

	sent := newStream(s.seed, s.events)
	say(fmt.Sprintf("producing %d records (seed %d)", len(sent.records), s.seed))
	if err := topic.produce(ctx, sent.records); err != nil {
		return err
	}
	r := report{Broker: servers.broker, Postgres: servers.postgres, Events: int64(s.events), Seed: s.seed}
	if r.Records, err = topic.end(ctx); err != nil {
		return err
	}

	d := demo{settings: s, servers: servers, topic: topic, records: r.Records, payments: sent.events, messages: messages}
	if r.Guarded, err = d.phase(ctx, guardedConsumer); err != nil {
		return fmt.Errorf("guarded: %w", err)
	}
	if r.Naive, err = d.phase(ctx, naiveConsumer); err != nil {
		return fmt.Errorf("naive: %w", err)
	}
	r.Elapsed = time.Since(began)

	return r.write(out, s.json)
}
