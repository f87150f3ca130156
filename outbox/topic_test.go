package outbox_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/await"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// A topic that does not take records holds up no other. Its records come in their order once it does.
func TestTopicThatTakesNoRecords(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.log.refuse = func(r outbox.Record) error {
		if r.Topic == "away" {
			return errors.New("no leader")
		}

		return nil
	}
	b.start(t, nil)
	away := func(value string) outbox.Record {
		return outbox.Record{Topic: "away", Key: []byte("k"), Value: []byte(value)}
	}
	b.published(t, away("1"))
	await.Until(t, "a failed try", func() bool { return b.count(t, "true") == 1 })
	for i := range 20 {
		b.published(t, away(strconv.Itoa(i+2)), record("k", "other "+strconv.Itoa(i)))
		await.Until(t, "the other topic's record", func() bool { return slices.Contains(b.log.values(), "other "+strconv.Itoa(i)) })
	}
	b.log.set(func(l *topicLog) { l.refuse = nil })
	b.awaitEmpty(t)
	var got []string
	for _, r := range b.log.records {
		if r.Topic == "away" {
			got = append(got, string(r.Value))
		}
	}
	if len(got) != 21 || got[0] != "1" || got[20] != "21" || !slices.IsSortedFunc(got, func(a, b string) int { return number(a) - number(b) }) {
		t.Errorf("the topic got %q", got)
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}

	return n
}

// A topic from which no answer comes is tried again after four times as long as a try takes, so that the others have most of the time. Where
// there are no others it is not.
func TestTopicThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const timeout = 200 * time.Millisecond
	type try struct {
		began, ended time.Time
		others       int // records of others that are in the log by then
	}
	var tries []try
	relay, err := outbox.NewRelay(b.pool, producerFunc(func(ctx context.Context, records []outbox.Record) []error {
		isSilent := func(r outbox.Record) bool { return r.Topic == "silent" }
		if !slices.ContainsFunc(records, isSilent) {
			return b.log.Produce(ctx, records)
		}
		began := time.Now()
		<-ctx.Done()
		errs := make([]error, len(records))
		for i, r := range records {
			if isSilent(r) {
				errs[i] = ctx.Err()
			} else {
				_ = b.log.Produce(ctx, records[i:i+1])
			}
		}
		tries = append(tries, try{began, time.Now(), b.log.len()})

		return errs
	}), outbox.Config{ProduceTimeout: timeout, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, relay)
	b.published(t, outbox.Record{Topic: "silent", Value: []byte("never")})
	for i := range 100 {
		b.published(t, record("k", strconv.Itoa(i)))
		await.Until(t, "the other topic's record", func() bool { return slices.Contains(b.log.values(), strconv.Itoa(i)) })
	}
	stop()
	held := 0
	for i := 2; i < len(tries); i++ {
		if tries[i-1].others == tries[i-2].others {
			continue
		}
		held++
		if rest := tries[i].began.Sub(tries[i-1].ended); rest < 4*timeout {
			t.Errorf("try %d came %v after the one before", i, rest)
		}
	}
	if held == 0 {
		t.Errorf("%d tries, none of which held up others", len(tries))
	}
}

type producerFunc func(ctx context.Context, records []outbox.Record) []error

func (f producerFunc) Produce(ctx context.Context, records []outbox.Record) []error {
	return f(ctx, records)
}
