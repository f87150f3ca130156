package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

const (
	guardedConsumer = "guarded"
	naiveConsumer   = "naive"
)

// demo is what both phases have in common.
type demo struct {
	settings

	servers  *servers
	topic    *topic
	records  int64
	payments []payment
	messages io.Writer
}

// result is what a phase did.
type result struct {
	audit

	Killed  int
	Elapsed time.Duration
}

// phase lets one consumer consume the whole topic, with tables and a group of its own, and
// reads its ledger.
func (d demo) phase(ctx context.Context, consumer string) (r result, err error) {
	name := d.topic.group(consumer) // of the group and of the schema
	defer func() { err = errors.Join(err, dropSchema(ctx, d.servers.dsn, name)) }()
	pool, err := connect(ctx, d.servers.dsn, name)
	if err != nil {
		return r, err
	}
	defer pool.Close()
	if err := createTables(ctx, pool, name, d.payments); err != nil {
		return r, err
	}
	if consumer == guardedConsumer {
		if err := migrate.Up(ctx, d.servers.dsn, name); err != nil {
			return r, fmt.Errorf("create the guard's tables: %w", err)
		}
	}

	crew := newCrew(job{
		Guarded: consumer == guardedConsumer, DSN: d.servers.dsn, Schema: name,
		Brokers: d.servers.brokers, Topic: d.topic.name, Group: name,
		SessionTimeout: d.servers.sessionTimeout, BatchSize: d.batch, BreakGuard: d.breakGuard,
	}, d.seed)
	c := chaos{crew: crew, topic: d.topic, records: d.records, progress: newProgress(d.messages, consumer, d.records)}
	began := time.Now()
	err = c.run(ctx)
	r.Killed, r.Elapsed = crew.killed, time.Since(began)
	if err := errors.Join(err, crew.close(ctx)); err != nil {
		return r, err
	}
	r.audit, err = readAudit(ctx, pool)

	return r, err
}
