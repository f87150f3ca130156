package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/console"
	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/kafkafacts"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
	"github.com/nova-events/idempotent-consumer/ops"
)

// The consumers of the console, by the names that it shows.
const (
	paymentsConsumer   = "payments"   // refuses some payments, which become dead letters
	statementsConsumer = "statements" // only remembers the events
)

const (
	paymentsEach   = time.Second // how often payments are produced, for the console
	paymentsAtOnce = 100
	killEach       = 20 * time.Second
)

var (
	errClosed = errors.New("is closed")
	errLimit  = errors.New("is over the limit of 99.00")
)

// showConsole has two consumers work, one of them killed now and then, and serves the console until ctx ends.
func (d demo) showConsole(ctx context.Context) (err error) {
	payments, err := d.open(ctx, paymentsConsumer)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, payments.close(ctx, false)) }()
	job := payments.crew.job
	job.Consumer, job.Group = statementsConsumer, d.topic.group(statementsConsumer)
	statements := newCrew(job, d.seed)
	defer func() { err = errors.Join(err, statements.close(ctx)) }()
	for _, crew := range []*crew{payments.crew, payments.crew, payments.crew, statements} {
		if _, err := crew.start(ctx); err != nil {
			return err
		}
	}

	brokers, err := kafkafacts.Parse(strings.Join(d.servers.brokers, ","))
	if err != nil {
		return err
	}
	client, err := ops.New(payments.pool, ops.Config{Schema: payments.name})
	if err != nil {
		return err
	}
	handler, err := console.Handler(console.Config{
		Client: client, Authorize: console.Everybody(console.User{Name: "demo", Change: true, Payloads: true}), Kafka: brokers.Facts,
		Logger: slog.New(slog.NewTextHandler(d.messages, nil)),
	})
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	defer func() { err = errors.Join(err, server.Close()) }()
	go func() { _ = server.Serve(listener) }() // It ends with Close.
	psql, remove, err := d.psql()
	if err != nil {
		return err
	}
	defer remove()
	d.sayf("The console is at http://%s/ until you press Ctrl-C.\nThe broker is at %s, the tables are in the schema %s:\n  %s",
		listener.Addr(), strings.Join(d.servers.brokers, ","), payments.name, psql)

	return d.keepBusy(ctx, payments.crew)
}

// keepBusy produces payments and has a consumer killed now and then, until ctx ends.
func (d demo) keepBusy(ctx context.Context, crew *crew) error {
	produce, kill := time.NewTicker(paymentsEach), time.NewTicker(killEach)
	defer produce.Stop()
	defer kill.Stop()
	for seed := d.seed; ; {
		select {
		case <-ctx.Done():
			return nil
		case err := <-crew.failed:
			return err
		case <-produce.C:
			seed++
			if err := d.topic.produce(ctx, newStream(seed, paymentsAtOnce).records); err != nil && ctx.Err() == nil {
				return err
			}
		case <-kill.C:
			if _, err := crew.kill(ctx); err != nil {
				return err
			}
			if _, err := crew.start(ctx); err != nil {
				return err
			}
		}
	}
}

// consumeForConsole is one of the consumers that the console shows.
func consumeForConsole(ctx context.Context, j job, pool *pgxpool.Pool, log *slog.Logger) error {
	guard, err := idem.New(pool, idem.Config{Consumer: j.Consumer, Schema: j.Schema, Logger: log})
	if err != nil {
		return fmt.Errorf("make the guard: %w", err)
	}
	config := consume.Config{StoreMetadata: true, CommitInterval: pollInterval, Logger: log}
	config.Failure.ParkKeys = true
	if j.Consumer == paymentsConsumer {
		config.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			if err := refuse(m.Record); err != nil {
				return consume.Permanent(err)
			}

			return apply(ctx, tx, m.Record)
		}
	} else {
		config.HandleBatch = func(context.Context, pgx.Tx, []consume.Message) error { return nil }
	}
	consumer, err := kafkaadapter.New(guard, j.source(), config)
	if err != nil {
		return fmt.Errorf("make the consumer: %w", err)
	}

	return consumer.Run(ctx)
}

// refuse returns an error for some payments.
func refuse(r consume.Record) error {
	p, err := decode(r)
	switch {
	case err != nil:
		return err
	case p.Account%200 == 7:
		return fmt.Errorf("account %d %w", p.Account, errClosed)
	case p.Cents > 9_960:
		return fmt.Errorf("a payment of %d.%02d %w", p.Cents/100, p.Cents%100, errLimit)
	default:
		return nil
	}
}
