package outbox_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/await"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// small makes portions of about four records.
func small(c *outbox.Config) { c.MaxBytes = 1000 }

// The producer is given no more at once than MaxBytes, whatever of a record is large, and however well it compresses.
func TestPortionsAreBounded(t *testing.T) {
	t.Parallel()
	const large, maxBytes = 4000, 40_000
	zeros := make([]byte, large)
	for what, r := range map[string]outbox.Record{
		"key": {Key: zeros}, "value": {Value: zeros}, "event id": {EventID: strings.Repeat("e", large)},
		"header": {Headers: []consume.RecordHeader{{Key: "h", Value: zeros}}}, "header's key": {Headers: []consume.RecordHeader{{Key: string(zeros)}}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			r.Topic = "orders"
			b.published(t, slices.Repeat([]outbox.Record{r}, 40)...)
			most := 0
			stop := b.start(t, func(c *outbox.Config) {
				c.MaxBytes = maxBytes
				c.Hooks.Produce.Begin = func(ctx context.Context, begin outbox.ProduceBegin) context.Context {
					most = max(most, len(begin.Records))

					return ctx
				}
			})
			b.awaitEmpty(t)
			stop()
			if most*large > maxBytes {
				t.Errorf("the producer was given %d records of %d bytes at once", most, large)
			}
		})
	}
}

// A relay that stops while it is reading ahead has deleted what Kafka has, and sends nothing again when it goes on.
func TestStopRepeatsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.published(t, numbered(0, 40, 3)...)
	relay, calls := b.relay(t, small), 0
	for range 2 {
		ctx, stop := context.WithCancel(t.Context())
		b.log.set(func(l *topicLog) {
			l.before = func() {
				if calls++; calls%3 == 0 {
					stop()
				}
			}
		})
		if err := relay.Run(ctx); err != nil {
			t.Fatal(err)
		}
		stop()
	}
	b.log.set(func(l *topicLog) { l.before = nil })
	b.start(t, small)
	b.awaitEmpty(t)
	wanted := make([]string, 40)
	for i := range wanted {
		wanted[i] = strconv.Itoa(i)
	}
	want(t, b.log.values(), wanted...)
}

// A turn ends while there is more to read, so that what Kafka has is deleted.
func TestTurnEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.published(t, numbered(0, 40, 3)...)
	calls, ended := 0, make(chan struct{})
	b.log.before = func() {
		if calls++; calls < 5 {
			time.Sleep(60 * time.Millisecond) //nolint:forbidigo // Kafka takes long.
		} else {
			<-ended
		}
	}
	b.start(t, small)
	goOn := sync.OnceFunc(func() { close(ended) })
	t.Cleanup(goOn)
	await.Until(t, "the end of a turn", func() bool { return b.count(t, "true") < 40 })
	goOn()
	b.awaitEmpty(t)
}

// A record is refused while the next ones of its key have been read already.
func TestRefusedWithAPortion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.log.refuse = func(r outbox.Record) error {
		if string(r.Value) == "2" {
			return errTooLarge
		}

		return nil
	}
	b.published(t, numbered(0, 20, 2)...)
	b.start(t, small)
	await.Until(t, "parked records", func() bool { return b.count(t, `state = 'parked'`) == 8 && b.count(t, "true") == 9 })
	want(t, b.log.values(), "0", "1", "3", "5", "7", "9", "11", "13", "15", "17", "19")
}

// A topic takes no records while the next ones have been read already, and then takes them again.
func TestTopicFailsWithAPortion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	failed := false
	b.log.refuse = func(outbox.Record) error {
		if !failed {
			failed = true

			return errors.New("no leader")
		}

		return nil
	}
	b.published(t, numbered(0, 10, 1)...)
	b.start(t, small)
	b.awaitEmpty(t)
	want(t, b.log.values(), "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
}
