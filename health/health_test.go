package health_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/health"
)

// snapshot is a consumer that does what it says.
type snapshot consume.Health

func (s snapshot) Health() consume.Health { return consume.Health(s) }

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func member(state consume.MemberState, since time.Duration, partitions ...consume.PartitionHealth) snapshot {
	return snapshot{At: now, State: state, Since: now.Add(-since), Group: "g", Generation: 3, Partitions: partitions}
}

func partition(state consume.PartitionState, since time.Duration, reason string) consume.PartitionHealth {
	var handler time.Time
	if state == consume.Processing {
		handler = now.Add(-since)
	}

	return consume.PartitionHealth{Handler: handler, Topic: "orders", Partition: 4, State: state, Since: now.Add(-since), Reason: reason, Position: 17, Lag: 5}
}

func TestProbes(t *testing.T) {
	t.Parallel()
	const soon, late, day = 5 * time.Second, 5 * time.Minute, 24 * time.Hour
	starting := member(consume.Starting, soon)
	starting.Generation, starting.Reason = -1, "dial tcp: connection refused"
	unanswered := partition(consume.Processing, late, "")
	unanswered.Handler = time.Time{}
	byOperator := partition(consume.Paused, day, "paused by alice")
	byOperator.Pause = consume.PauseOperator
	first := member(consume.Joining, soon)
	first.Generation = -1
	for name, test := range map[string]struct {
		consumer snapshot
		live     string // what the problem says; empty: none
		ready    string
		handler  time.Duration
	}{
		"idle for a day":              {consumer: member(consume.Joined, day, partition(consume.Idle, day, ""))},
		"without a partition":         {consumer: member(consume.Joined, day)},
		"busy":                        {consumer: member(consume.Joined, day, partition(consume.Processing, soon, ""))},
		"a handler that hangs":        {consumer: member(consume.Joined, day, partition(consume.Processing, day, "")), live: "a handler of partition 4 of orders has not returned for 24h0m0s", ready: "not returned"},
		"a limit of its own":          {consumer: member(consume.Joined, day, partition(consume.Processing, late, "")), handler: time.Minute, live: "5m0s", ready: "5m0s"},
		"a pause that is short":       {consumer: member(consume.Joined, day, partition(consume.Paused, soon, "down"))},
		"a pause that lasts":          {consumer: member(consume.Joined, day, partition(consume.Paused, late, "down")), ready: "partition 4 of orders is paused, for 5m0s now: down"},
		"PostgreSQL hangs":            {consumer: member(consume.Joined, day, unanswered), ready: "partition 4 of orders is at the same records, for 5m0s now"},
		"a pause by an operator":      {consumer: member(consume.Joined, day, byOperator)},
		"a former owner that hangs":   {consumer: member(consume.Joined, day, partition(consume.Acquiring, late, "")), ready: "acquiring"},
		"starting":                    {consumer: starting, ready: "the consumer is starting, for 5s now: dial tcp: connection refused"},
		"joining for the first time":  {consumer: first, ready: "joining"},
		"a rebalance":                 {consumer: member(consume.Joining, soon)},
		"a rebalance that never ends": {consumer: member(consume.Joining, late), ready: "joining, for 5m0s"},
		"leaving":                     {consumer: member(consume.Leaving, soon), ready: "leaving"},
		"ended":                       {consumer: member(consume.NotRunning, soon), live: "not running", ready: "not running"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limits := health.Limits{Handler: test.handler}
			for probe, want := range map[string]string{"live": test.live, "ready": test.ready} {
				handler := health.Live(test.consumer, limits)
				if probe == "ready" {
					handler = health.Ready(test.consumer, limits)
				}
				answer := httptest.NewRecorder()
				handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
				var got struct {
					OK       bool           `json:"ok"`
					Problems []string       `json:"problems"`
					Health   map[string]any `json:"health"`
				}
				if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
					t.Fatal(err)
				}
				status := http.StatusOK
				if want != "" {
					status = http.StatusServiceUnavailable
				}
				if answer.Code != status || got.OK != (want == "") || !strings.Contains(strings.Join(got.Problems, "; "), want) || got.Problems == nil {
					t.Errorf("%s: status %d, %+v; want %q", probe, answer.Code, got, want)
				}
				if got.Health["state"] != test.consumer.State.String() {
					t.Errorf("%s: %+v", probe, got.Health)
				}
			}
		})
	}
}
