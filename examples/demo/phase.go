package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// The consumers, in the order of the demo.
const (
	naiveConsumer   = "naive"
	guardedConsumer = "guarded"
	batchConsumer   = "batches" // is guarded, too
)

// demo is what the consumers have in common.
type demo struct {
	settings

	servers  *servers
	topic    *topic
	sent     stream
	messages io.Writer
}

// result is what a consumer did.
type result struct {
	audit

	Killed  int
	Elapsed time.Duration
}

// side is one of the consumers, with tables and a group of its own.
type side struct {
	name string // of the group and of the schema
	dsn  string
	pool *pgxpool.Pool
	crew *crew
}

// open prepares a consumer that nobody works for yet.
func (d demo) open(ctx context.Context, consumer string) (_ *side, err error) {
	s := &side{name: d.topic.group(consumer), dsn: d.servers.dsn}
	if s.pool, err = connect(ctx, s.dsn, s.name); err != nil {
		return nil, err
	}
	s.crew = newCrew(job{
		Consumer: consumer, DSN: s.dsn, Schema: s.name,
		Brokers: d.servers.brokers, Topic: d.topic.name, Group: s.name,
		SessionTimeout: d.servers.sessionTimeout, BatchSize: d.batch, BreakGuard: d.breakGuard,
	}, d.seed)
	err = createTables(ctx, s.pool, s.name, d.sent.events)
	if err == nil && consumer != naiveConsumer {
		if err = migrate.Up(ctx, s.dsn, s.name); err != nil {
			err = fmt.Errorf("create the guard's tables: %w", err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.close(ctx, false))
	}

	return s, nil
}

// close removes all that the consumer has made in the database, unless it is to be kept.
func (s *side) close(ctx context.Context, keep bool) error {
	err := s.crew.close(ctx)
	s.pool.Close()
	if keep {
		return err
	}

	return errors.Join(err, dropSchema(ctx, s.dsn, s.name))
}

// phase lets one consumer consume the whole topic, and reads its ledger.
func (d demo) phase(ctx context.Context, consumer string, records int64) (r result, err error) {
	s, err := d.open(ctx, consumer)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.close(ctx, d.keepTables)) }()

	c := chaos{crew: s.crew, topic: d.topic, records: records, progress: newProgress(d.messages, consumer, records)}
	began := time.Now()
	err = c.run(ctx)
	r.Killed, r.Elapsed = s.crew.killed, time.Since(began)
	if err := errors.Join(err, s.crew.close(ctx)); err != nil {
		return r, err
	}
	r.audit, err = readAudit(ctx, s.pool)

	return r, err
}
