package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// isConsumeRound reports whether this process is one round of a client that consumes without a database.
func isConsumeRound() bool { return os.Getenv(envClient) != "" }

// consumeTopic is such a round. It writes its rate to out.
func consumeTopic(ctx context.Context, out io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	records, err := strconv.Atoi(os.Getenv(envRecords))
	if err != nil {
		return fmt.Errorf("%s: %w", envRecords, err)
	}
	if path := os.Getenv(envProfile); path != "" {
		stop, err := profileTo(path)
		if err != nil {
			return err
		}
		defer stop()
	}
	brokers, topic, group := strings.Split(os.Getenv(envBrokers), ","), os.Getenv(envTopic), os.Getenv(envGroup)
	open := pollFranz
	if os.Getenv(envClient) == readerName {
		open = pollReader
	}
	poll, closer, err := open(brokers, topic, group)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer()) }()

	var start time.Time
	first, got := 0, 0
	for got < records {
		n, err := poll(ctx)
		if err != nil {
			return fmt.Errorf("after %d records: %w", got, err)
		}
		if got += n; first == 0 && got > 0 {
			start, first = time.Now(), got
		}
	}
	if got == first {
		return errors.New("all records came at once: give more -consumed")
	}
	_, err = fmt.Fprintf(out, "%f records/s\n", float64(got-first)/time.Since(start).Seconds())

	return err
}

// poller waits for records and returns how many have come.
type poller func(context.Context) (int, error)

func pollReader(brokers []string, topic, group string) (poller, func() error, error) {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: brokers, GroupID: group, Topic: topic, StartOffset: kafka.FirstOffset,
		MaxWait: 500 * time.Millisecond, IsolationLevel: kafka.ReadCommitted,
	})

	return func(ctx context.Context) (int, error) {
		_, err := reader.FetchMessage(ctx)

		return 1, err
	}, reader.Close, nil
}

func pollFranz(brokers []string, topic, group string) (poller, func() error, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(500*time.Millisecond), kgo.DisableAutoCommit(),
	)
	if err != nil {
		return nil, nil, fmt.Errorf("make a client: %w", err)
	}

	return func(ctx context.Context) (int, error) {
			fetches := client.PollFetches(ctx)

			return fetches.NumRecords(), fetches.Err()
		}, func() error {
			client.Close()

			return nil
		}, nil
}
