package e2e_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/ops"
)

// placed stores where records stand, and goes on in a topic that was made anew.
func placed(c *settings) {
	c.StoreMetadata, c.Failure.ReplayInterval, c.OnOutOfRange = true, 50*time.Millisecond, consume.SkipToEarliest
}

// recreate makes the topic anew, with the events from 100 on in the places of others.
func (s *bench) recreate(t *testing.T) {
	t.Helper()
	s.broker.DeleteTopic(t, s.topic)
	s.create(t, s.topic, 1)
	s.broker.Write(t, s.topic, events(100, 30, 1)...)
}

// effectsOf is how often an event took effect.
func (s *bench) effectsOf(t *testing.T, event int) (n int) {
	t.Helper()
	if err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM public.effects WHERE event_id = $1`, strconv.Itoa(event)).Scan(&n); err != nil {
		t.Fatal(err)
	}

	return n
}

// wantEnded waits until the only request has ended, and checks how and with which error.
func (s *bench) wantEnded(t *testing.T, state, says string) {
	t.Helper()
	var got, said string
	until(t, "the request to end", func() bool {
		err := s.pool.QueryRow(t.Context(), `SELECT state, error FROM idem.dead_letters`).Scan(&got, &said)

		return err == nil && got != "replay"
	})
	if got != state || !strings.Contains(said, says) {
		t.Errorf("the request is %s: %q; want %s: %q", got, said, state, says)
	}
}

// An operator asks for event 3. Since it was processed the topic was made anew, and event 103 stands in its place. That one took effect
// twice, and the request was replayed.
func TestRequestOfAnEventProcessesNoOther(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 10, 1)...)
	m := s.start(t, placed)
	s.awaitCommitted(t, 10)
	m.leave(t)
	s.recreate(t)
	m = s.start(t, placed)
	s.awaitEffects(t, 40)
	client := s.operator(t)
	ask := func(id string) error {
		t.Helper()
		place, err := client.PlanReprocess(t.Context(), "test", id)
		if err == nil {
			_, err = client.Reprocess(t.Context(), place)
		}

		return err
	}
	if err := ask("3"); err != nil {
		t.Fatal(err)
	}
	s.wantEnded(t, "expired", "event 103 stands in its place")
	for id, asked := range map[string]string{"3": "Somebody asked for the record at offset 3 ", "103": "Somebody asked for event 3 "} {
		story, err := client.Explain(t.Context(), "test", id)
		if said := fmt.Sprint(story.Entries); err != nil || !strings.Contains(said, asked) || !strings.Contains(said, "event 103 stands in its place") {
			t.Errorf("the story of event %s: %s, %v", id, said, err)
		}
	}
	if err := ask("103"); err != nil { // What stands there can be asked for.
		t.Fatal(err)
	}
	until(t, "event 103 to be processed again", func() bool { return s.effectsOf(t, 103) == 2 })
	m.leave(t)
	if got := fmt.Sprint(s.letters(t)); s.effectsOf(t, 3) != 1 || got != "[3 expired 0 3 replayed 0]" {
		t.Errorf("event 3 took effect %d times, the requests are %s", s.effectsOf(t, 3), got)
	}
}

// The place of a record is one in the topic that there was when an operator asked for it. It was processed from another topic of the name.
func TestRequestOfAPlaceIsOfItsTopic(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]consume.Mode{"both": consume.ByEventIDAndCheckpoint, "checkpoint": consume.ByCheckpoint} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			s.broker.Write(t, s.topic, events(0, 10, 1)...)
			config := func(c *settings) {
				placed(c)
				c.Mode = mode
			}
			m := s.start(t, config)
			s.awaitCommitted(t, 10)
			m.leave(t)
			if _, err := s.operator(t).Reprocess(t.Context(), ops.RecordPlace{Consumer: "test", Topic: s.topic, Offset: 3}); err != nil {
				t.Fatal(err)
			}
			s.recreate(t)
			m = s.start(t, config)
			s.wantEnded(t, "expired", "the topic was deleted and created again")
			s.awaitCommitted(t, 30)
			m.leave(t)
			var n int
			if err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM public.effects`).Scan(&n); err != nil || n != 40 {
				t.Errorf("%d records took effect, %v; want 40", n, err)
			}
		})
	}
}

// Where the id of what stands in the place cannot be told, nothing is processed, and somebody is to decide.
func TestRequestOfAnEventThatCannotBeTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		says   string
		change func(c *settings)
	}{
		"no event ids": {"mode ByCheckpoint", func(c *settings) { c.Mode = consume.ByCheckpoint }},
		"a strategy that fails": {"broken strategy", func(c *settings) {
			c.EventID = func(consume.Record) (string, error) { return "3", errors.New("broken strategy") }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			s.broker.Write(t, s.topic, events(0, 10, 1)...)
			m := s.start(t, placed)
			s.awaitCommitted(t, 10)
			m.leave(t)
			client := s.operator(t)
			place, err := client.PlanReprocess(t.Context(), "test", "3")
			if err == nil {
				_, err = client.Reprocess(t.Context(), place)
			}
			if err != nil {
				t.Fatal(err)
			}
			m = s.start(t, func(settings *settings) {
				placed(settings)
				c.change(settings)
			})
			s.wantEnded(t, "open", c.says)
			m.leave(t)
			m = s.start(t, placed) // It is corrected.
			s.askForReplay(t)
			until(t, "the event to be processed again", func() bool { return fmt.Sprint(s.letters(t)) == "[3 replayed 0]" })
			m.leave(t)
			if n := s.effectsOf(t, 3); n != 2 {
				t.Errorf("event 3 took effect %d times, want 2", n)
			}
		})
	}
}
