package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-events/idempotent-consumer/internal/apachekafka"
	"github.com/nova-events/idempotent-consumer/internal/pgserver"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

const (
	topic      = "events"
	partitions = 6
	accounts   = 1000
	again      = 20 // every so many events one is produced again
)

// sample is one look.
type sample struct {
	Seconds  float64 `json:"seconds"` // since the beginning
	Worker   *usage  `json:"worker,omitempty"`
	Database float64 `json:"database,omitempty"` // bytes of what the guard's tables and their indexes take
	Log      float64 `json:"log,omitempty"`      // records that Kafka has
	Lag      float64 `json:"lag,omitempty"`      // records that the slower consumer has still to process
}

// measure runs the whole and returns what was seen.
func measure(ctx context.Context, s settings, stderr io.Writer) (r record, err error) {
	kafka, err := apachekafka.Start(ctx, apachekafka.Config{Settings: map[string]string{"log.retention.check.interval.ms": "10000"}})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, kafka.Stop()) }()
	server, err := pgserver.Start(ctx, pgserver.Config{Durable: true})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	dsn := server.DSN("postgres")
	if err := migrate.Up(ctx, dsn, schema.DefaultName); err != nil {
		return r, err
	}
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return r, err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, `CREATE TABLE public.accounts (consumer text, account text, balance bigint NOT NULL, PRIMARY KEY (consumer, account)) WITH (fillfactor = 50)`); err != nil {
		return r, err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka.Addrs()...), kgo.DefaultProduceTopic(topic))
	if err != nil {
		return r, err
	}
	defer client.Close()
	retention := strconv.FormatInt(s.retention.Milliseconds(), 10)
	segment := strconv.FormatInt((s.retention / 5).Milliseconds(), 10)
	if _, err := kadm.NewClient(client).CreateTopic(ctx, partitions, 1, map[string]*string{"retention.ms": &retention, "segment.ms": &segment}, topic); err != nil {
		return r, err
	}

	ctx, stop := context.WithTimeout(ctx, s.duration)
	defer stop()
	o := &observer{settings: s, began: time.Now(), stderr: stderr}
	var workers, beside sync.WaitGroup
	workersCtx, endWorkers := context.WithCancel(context.WithoutCancel(ctx))
	defer endWorkers()
	for _, adapter := range []string{kafkaGo, franz} {
		workers.Go(func() {
			if err := o.worker(workersCtx, job{adapter, dsn + "&application_name=" + adapter, kafka.Addrs(), s.every, s.retention}); err != nil {
				o.fail(fmt.Errorf("%s: %w", adapter, err))
				stop()
			}
		})
	}
	beside.Go(func() { o.produce(ctx, client, s.rate) })
	o.look(ctx, pool, kadm.NewClient(client))
	beside.Wait()
	o.settle(context.WithoutCancel(ctx), pool, kadm.NewClient(client))
	endWorkers()
	workers.Wait()
	_, _ = fmt.Fprintln(stderr)

	return record{Settings: fmt.Sprintf("%d records/s, retention %v, %v", s.rate, s.retention, s.duration), Samples: o.samples, Distinct: o.distinct}, o.err
}

// observer collects the samples.
type observer struct {
	settings settings
	began    time.Time
	stderr   io.Writer

	mu       sync.Mutex
	samples  []sample
	distinct int64 // events that were produced
	err      error
}

func (o *observer) add(s sample) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.Seconds = time.Since(o.began).Seconds()
	o.samples = append(o.samples, s)
}

func (o *observer) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = errors.Join(o.err, err)
}

// errEnded says that a worker has ended before it was to.
var errEnded = errors.New("a worker has ended")

// worker runs a worker until ctx ends.
func (o *observer) worker(ctx context.Context, j job) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	command := exec.Command(program) //nolint:noctx // It ends with its input.
	command.Env = append(os.Environ(), envWorker+"=1")
	command.Stderr = &lastLines{}
	input, err := command.StdinPipe()
	if err != nil {
		return err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	unwatch := context.AfterFunc(ctx, func() { _ = input.Close() })
	defer unwatch()
	err = json.NewEncoder(input).Encode(j)
	for lines := bufio.NewScanner(output); err == nil && lines.Scan(); {
		var u usage
		if err = json.Unmarshal(lines.Bytes(), &u); err == nil {
			o.add(sample{Worker: &u})
		}
	}
	_ = input.Close()
	if err := errors.Join(err, command.Wait()); err != nil {
		return fmt.Errorf("%w\n%v", err, command.Stderr)
	}
	if ctx.Err() == nil {
		return fmt.Errorf("%w\n%v", errEnded, command.Stderr)
	}

	return nil
}

// lastLines keeps the end of what is written.
type lastLines struct{ text []byte }

func (l *lastLines) Write(p []byte) (int, error) {
	const most = 8 << 10
	l.text = append(l.text, p...)
	l.text = l.text[max(0, len(l.text)-most):]

	return len(p), nil
}

func (l *lastLines) String() string { return strings.TrimSpace(string(l.text)) }

// produce writes records at a steady rate, some of them twice, until ctx ends.
func (o *observer) produce(ctx context.Context, client *kgo.Client, rate int) {
	const slice = 20 * time.Millisecond
	tick := time.NewTicker(slice)
	defer tick.Stop()
	value := []byte(strings.Repeat("v", 200))
	produced := 0
	for {
		select {
		case <-ctx.Done():
			if err := client.Flush(context.WithoutCancel(ctx)); err != nil {
				o.fail(err)
			}

			return
		case <-tick.C:
		}
		for due := int(time.Since(o.began).Seconds() * float64(rate)); produced < due; produced++ {
			record := &kgo.Record{Key: strconv.AppendInt(nil, int64(produced%accounts), 10), Value: value}
			id := uuid.Must(uuid.NewV7())
			record.Headers = []kgo.RecordHeader{{Key: "idempotency_key", Value: []byte(id.String())}}
			times := 1
			if produced%again == 0 {
				times = 2
			}
			o.mu.Lock()
			o.distinct++
			o.mu.Unlock()
			for range times {
				copied := *record
				client.Produce(context.WithoutCancel(ctx), &copied, func(_ *kgo.Record, err error) {
					if err != nil {
						o.fail(fmt.Errorf("produce: %w", err))
					}
				})
			}
		}
	}
}

// look samples the servers and shows progress.
func (o *observer) look(ctx context.Context, pool *pgxpool.Pool, admin *kadm.Client) {
	const mostUnseen = 3
	unseen := 0 // looks in a row that failed
	tick := time.NewTicker(o.settings.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var s sample
		err := pool.QueryRow(ctx, `SELECT sum(pg_total_relation_size(c.oid))
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'idem' AND c.relkind = 'r'`).Scan(&s.Database)
		if err == nil {
			s.Log, s.Lag, err = kafkaNumbers(ctx, admin)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil { // A topic that was just created may have no leader yet.
			if unseen++; unseen == mostUnseen {
				o.fail(fmt.Errorf("%d looks in a row: %w", unseen, err))
			}

			continue
		}
		unseen = 0
		o.add(s)
		_, _ = fmt.Fprintf(o.stderr, "\r%v of %v, %.0f records behind, tables %.0f MB  ", time.Since(o.began).Round(time.Second), o.settings.duration, s.Lag, s.Database/1e6)
	}
}

func kafkaNumbers(ctx context.Context, admin *kadm.Client) (log, lag float64, err error) {
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(end.Topic, end.Partition)
		log += float64(end.Offset - start.Offset)
	})
	for _, group := range []string{kafkaGo, franz} {
		committed, err := admin.FetchOffsets(ctx, group)
		if err != nil {
			return 0, 0, err
		}
		behind := 0.0
		ends.Each(func(end kadm.ListedOffset) {
			at, _ := committed.Lookup(end.Topic, end.Partition)
			behind += float64(end.Offset - at.At)
		})
		lag = max(lag, behind)
	}

	return log, lag, nil
}

// settle waits until all is processed and counts what took effect: each consumer has a balance of every event, once.
func (o *observer) settle(ctx context.Context, pool *pgxpool.Pool, admin *kadm.Client) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		_, lag, err := kafkaNumbers(ctx, admin)
		if err == nil && lag == 0 {
			break
		}
		if ctx.Err() != nil {
			o.fail(fmt.Errorf("%.0f records are not processed: %w", lag, errors.Join(err, ctx.Err())))

			return
		}
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // It polls.
	}
	rows, err := pool.Query(ctx, `SELECT consumer, sum(balance)::bigint FROM public.accounts GROUP BY consumer`)
	if err != nil {
		o.fail(err)

		return
	}
	defer rows.Close()
	for rows.Next() {
		var consumer string
		var balance int64
		if err := rows.Scan(&consumer, &balance); err != nil {
			o.fail(err)
		}
		if balance != o.distinct {
			o.fail(fmt.Errorf("%s: %d events took effect %d times", consumer, o.distinct, balance))
		}
	}
	if err := rows.Err(); err != nil {
		o.fail(err)
	}
}
