package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
)

// errWrongLedger is returned when a guarded consumer lost or doubled a payment.
var errWrongLedger = errors.New("the ledger behind the guard is wrong")

// run carries out the demo and reports to out; progress goes to messages.
func run(ctx context.Context, s settings, out, messages io.Writer) (err error) {
	began := time.Now()
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

	d := demo{settings: s, servers: servers, topic: topic, sent: newStream(s.seed, s.events), messages: messages}
	r := report{Broker: servers.broker, Postgres: servers.postgres, Events: int64(s.events), Seed: s.seed, Batch: s.batch}
	if s.console {
		return d.showConsole(ctx)
	}
	if s.failover {
		f := failoverReport{report: r}
		if err := d.failOver(ctx, &f); err != nil {
			return err
		}
		f.Elapsed = time.Since(began)

		return f.write(out, s.json)
	}
	if err := d.consumeAll(ctx, &r); err != nil {
		return err
	}
	r.Elapsed = time.Since(began)
	err = r.write(out, s.json)
	if s.keepTables {
		err = errors.Join(err, d.keep(ctx))
	}

	return err
}

// consumeAll produces all records and lets one consumer after the other consume them.
func (d demo) consumeAll(ctx context.Context, r *report) error {
	d.sayf("producing %d records of %d payments: the producer sends one in ten twice (seed %d)", len(d.sent.records), len(d.sent.events), d.seed)
	if err := d.topic.produce(ctx, d.sent.records); err != nil {
		return err
	}
	var err error
	if r.Records, err = d.topic.end(ctx); err != nil {
		return err
	}
	for _, one := range []struct {
		name, what string
		result     *result
	}{
		{naiveConsumer, "a transaction for each payment, then its offset", &r.Naive},
		{guardedConsumer, "the same handler and transactions, behind the guard", &r.Guarded},
		{batchConsumer, fmt.Sprintf("behind the guard, up to %d payments in a transaction", d.batch), &r.Batches},
	} {
		d.sayf("%s: %s", one.name, one.what)
		if *one.result, err = d.phase(ctx, one.name, r.Records); err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
	}

	return nil
}

// sayf tells what is going on.
func (d demo) sayf(format string, args ...any) {
	_, _ = fmt.Fprintf(d.messages, format+"\n", args...)
}
