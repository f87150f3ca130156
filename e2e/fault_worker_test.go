package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/segmentio/kafka-go/compress"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// envWorker makes this test binary a worker: a member of a group in a process of its own, which
// can be killed.
const envWorker = "IDEM_TEST_WORKER"

// job is all that a worker needs to know. It comes through its input.
type job struct {
	DSN             string        `json:"dsn"`
	Brokers         []string      `json:"brokers"`
	Topic           string        `json:"topic"`
	Group           string        `json:"group"`
	SessionTimeout  time.Duration `json:"session_timeout"`
	Batches         bool          `json:"batches"`
	OwnTransactions bool          `json:"own_transactions"`
	Lanes           int           `json:"lanes"`
	DeadlyCodec     bool          `json:"deadly_codec"`

	// Patient workers have the intervals that are the default.
	Patient bool `json:"patient"`

	// Pattern is what to consume in place of Topic.
	Pattern string `json:"pattern"`

	// Middle is where workers publish each event through the outbox, of which they run a relay, too.
	Middle string `json:"middle"`
}

// work consumes until its input ends. That is how a test asks a worker to leave, and what
// happens to one whose test is killed. It returns the exit status.
func work(input io.Reader) int {
	if err := serve(input); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)

		return 1
	}

	return 0
}

func serve(input io.Reader) error {
	var j job
	decoder := json.NewDecoder(input)
	if err := decoder.Decode(&j); err != nil {
		return err
	}
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	go func() {
		answer(io.MultiReader(decoder.Buffered(), input))
		leave()
	}()
	database, err := pgxpool.ParseConfig(j.DSN)
	if err != nil {
		return err
	}
	database.MaxConns = max(database.MaxConns, int32(j.Lanes))
	pool, err := pgxpool.NewWithConfig(ctx, database)
	if err != nil {
		return err
	}
	defer pool.Close()
	guard, err := idem.New(pool, idem.Config{Consumer: "test"})
	if err != nil {
		return err
	}
	source := kafkaadapter.Config{
		Brokers: j.Brokers, Group: j.Group, Topics: []string{j.Topic}, SessionTimeout: j.SessionTimeout,
		HeartbeatInterval: 100 * time.Millisecond, MaxWait: 100 * time.Millisecond,
	}
	config := consume.Config{
		Handle: deadly, OwnTransactions: j.OwnTransactions, Lanes: consume.LanesConfig{Count: j.Lanes}, CommitInterval: 200 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if j.Patient {
		source.HeartbeatInterval, source.MaxWait, config.CommitInterval = 0, 0, 0
	}
	if j.Pattern != "" {
		source.Topics, source.TopicPattern = nil, regexp.MustCompile(j.Pattern)
		config.EventID = consume.InTopic(consume.Header(consume.DefaultEventIDHeader))
	}
	if j.DeadlyCodec {
		compress.Codecs[compress.Gzip] = deadlyCodec{compress.Codecs[compress.Gzip]}
		deadlyDecompressor = true
		config.OnUnreadable = consume.StoreUnreadable
	}
	if j.Batches {
		config.Handle, config.HandleBatch = nil, eachOf(deadly)
	}
	if j.Middle != "" {
		config.Handle = forward(j.Middle)
		producer, closeProducer, err := newProducer(j.Brokers)
		if err != nil {
			return err
		}
		defer closeProducer()
		relay, err := outbox.NewRelay(pool, producer, outbox.Config{})
		if err != nil {
			return err
		}
		relaying := make(chan error, 1)
		go func() { relaying <- relay.Run(ctx) }()
		defer func() { <-relaying }() //nolint:errcheck // What it did not relay the test misses.
	}
	consumer, err := newConsumer(guard, source, config)
	if err != nil {
		return err
	}

	return consumer.Run(ctx)
}

// worker is a worker as its test sees it.
type worker struct {
	command  *exec.Cmd
	input    io.WriteCloser // The worker leaves when this is closed.
	output   *bufio.Reader  // its answers
	messages bytes.Buffer   // It is not read before the worker has ended.
}

// startJob starts a worker, which the test must kill or dismiss.
func (s *bench) startJob(t *testing.T, j job) *worker {
	t.Helper()

	return s.startJobOf(t, os.Args[0], j)
}

// startJobOf is startJob with another program than this one.
func (s *bench) startJobOf(t *testing.T, program string, j job) *worker {
	t.Helper()
	w := &worker{command: exec.CommandContext(context.WithoutCancel(t.Context()), program)}
	w.command.Env = append(os.Environ(), envWorker+"=1", "GOMAXPROCS=1") // They share the machine.
	w.command.Stderr = &w.messages
	var err error
	if w.input, err = w.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	output, err := w.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	w.output = bufio.NewReader(output)
	if err := w.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.input.Close() }) // Of a test that fails the workers leave, too.
	j.Brokers, j.Topic, j.Group, j.SessionTimeout = s.broker.Addrs, s.topic, s.group, s.broker.MinSessionTimeout
	if err := json.NewEncoder(w.input).Encode(j); err != nil {
		t.Fatal(err)
	}

	return w
}

// kill kills a worker by SIGKILL, whatever it is doing.
func (w *worker) kill(t *testing.T) {
	t.Helper()
	if err := w.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	if err := w.command.Wait(); w.command.ProcessState.Exited() {
		t.Errorf("a worker ended before it was killed: %v\n%s", err, w.messages.String())
	}
}

// dismiss asks a worker to leave and waits until it has.
func (w *worker) dismiss(t *testing.T) {
	t.Helper()
	if err := w.input.Close(); err != nil {
		t.Error(err)
	}
	if err := w.command.Wait(); err != nil {
		t.Errorf("a worker did not leave in order: %v\n%s", err, w.messages.String())
	}
}
