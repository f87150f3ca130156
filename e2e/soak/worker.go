package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/franzadapter"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
)

// envWorker makes this program a worker: a consumer in a process of its own.
const envWorker = "IDEM_SOAK_WORKER"

// job is all that a worker needs to know. It comes through its input.
type job struct {
	Adapter   string        `json:"adapter"` // and the name of its consumer and group
	DSN       string        `json:"dsn"`
	Brokers   []string      `json:"brokers"`
	Every     time.Duration `json:"every"`
	Retention time.Duration `json:"retention"`
}

// The adapters.
const (
	kafkaGo = "kafkaadapter"
	franz   = "franzadapter"
)

// usage is what a worker says of itself, each as long as job.Every.
type usage struct {
	Adapter    string  `json:"adapter"`
	Processed  int     `json:"processed"` // records since the last one, with duplicates
	Resident   float64 `json:"resident"`  // bytes of memory
	Heap       float64 `json:"heap"`      // bytes that are in use after a collection
	Goroutines float64 `json:"goroutines"`
	Sockets    float64 `json:"sockets"`
	P99        float64 `json:"p99"` // of the time from the production of a transaction's first record to its COMMIT, in seconds
}

// work consumes until its input ends, and writes a usage in each line of its output. It returns the exit status.
func work(input io.Reader, output io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, stop, input, json.NewEncoder(output)); err != nil {
		fmt.Fprintln(os.Stderr, "soak: worker:", err)

		return 1
	}

	return 0
}

func serve(ctx context.Context, stop func(), input io.Reader, output *json.Encoder) error {
	var j job
	if err := json.NewDecoder(input).Decode(&j); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, input)
		stop()
	}()
	pool, err := pgxpool.New(ctx, j.DSN+"&pool_max_conns=8")
	if err != nil {
		return err
	}
	defer pool.Close()
	guard, err := idem.New(pool, idem.Config{Consumer: j.Adapter, Retention: j.Retention})
	if err != nil {
		return err
	}
	cleaner, err := idem.NewCleaner(pool, idem.CleanerConfig{Interval: j.Retention / 10})
	if err != nil {
		return err
	}
	m := &meter{job: j}
	c, err := j.newConsumer(guard, consume.Config{HandleBatch: balance, Hooks: consume.Hooks{Process: idem.Hook[consume.ProcessBegin, consume.ProcessEnd]{End: m.end}}}) //nolint:contextcheck // New takes none.
	if err != nil {
		return err
	}
	var beside sync.WaitGroup
	beside.Go(func() {
		if err := cleaner.Run(ctx); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "soak: cleaner:", err)
		}
	})
	beside.Go(func() { m.report(ctx, output) })
	defer beside.Wait()
	defer stop()

	return c.Run(ctx)
}

type consumer interface {
	Run(ctx context.Context) error
}

func (j job) newConsumer(guard *idem.Guard, config consume.Config) (consumer, error) { //nolint:ireturn // It is either.
	if j.Adapter == kafkaGo {
		return kafkaadapter.New(guard, kafkaadapter.Config{Brokers: j.Brokers, Group: j.Adapter, Topics: []string{topic}}, config)
	}

	return franzadapter.New(guard, franzadapter.Config{Brokers: j.Brokers, Group: j.Adapter, Topics: []string{topic}}, config)
}

// balance is the handler: it adds the records to accounts, of which there are always as many.
func balance(ctx context.Context, tx pgx.Tx, records []consume.Message) error {
	counts := map[string]int64{}
	for _, r := range records {
		counts[string(r.Key)]++
	}
	accounts, sums := make([]string, 0, len(counts)), make([]int64, 0, len(counts))
	for account := range counts {
		accounts = append(accounts, account)
	}
	slices.Sort(accounts) // The other consumer locks the rows in the same order.
	for _, account := range accounts {
		sums = append(sums, counts[account])
	}
	_, err := tx.Exec(ctx, `INSERT INTO public.accounts (consumer, account, balance)
		SELECT current_setting('application_name'), unnest($1::text[]), unnest($2::bigint[])
		ON CONFLICT (consumer, account) DO UPDATE SET balance = accounts.balance + excluded.balance`, accounts, sums)

	return err
}

// meter measures what the worker does.
type meter struct {
	job job

	mu        sync.Mutex
	processed int
	latencies []time.Duration
}

func (m *meter) end(_ context.Context, b consume.ProcessBegin, e consume.ProcessEnd) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.processed += e.Processed + e.Duplicates
	m.latencies = append(m.latencies, time.Since(b.Messages.First.Time))
}

func (m *meter) report(ctx context.Context, output *json.Encoder) {
	tick := time.NewTicker(m.job.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := output.Encode(m.usage()); err != nil {
				return // The parent has gone, and so does the input.
			}
		}
	}
}

func (m *meter) usage() usage {
	m.mu.Lock()
	latencies := m.latencies
	u := usage{Adapter: m.job.Adapter, Processed: m.processed}
	m.processed, m.latencies = 0, nil
	m.mu.Unlock()
	slices.Sort(latencies)
	if n := len(latencies); n > 0 {
		u.P99 = latencies[n*99/100].Seconds()
	}
	u.Goroutines, u.Sockets, u.Resident = float64(runtime.NumGoroutine()), sockets(), resident()
	var stats runtime.MemStats
	runtime.GC() // What is garbage says nothing.
	runtime.ReadMemStats(&stats)
	u.Heap = float64(stats.HeapAlloc)
	debug.FreeOSMemory()

	return u
}

// sockets counts the open ones. Linux alone tells, here and below.
func sockets() (n float64) {
	const folder = "/proc/self/fd"
	entries, _ := os.ReadDir(folder)
	for _, entry := range entries {
		if target, err := os.Readlink(folder + "/" + entry.Name()); err == nil && strings.HasPrefix(target, "socket:") {
			n++
		}
	}

	return n
}

func resident() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if fields := strings.Fields(string(text)); err == nil && len(fields) > 1 {
		pages, _ := strconv.ParseFloat(fields[1], 64)

		return pages * float64(os.Getpagesize())
	}

	return 0
}
