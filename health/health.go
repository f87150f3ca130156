// Package health makes HTTP probes of a consumer, for Kubernetes and load balancers.
//
// An idle consumer is healthy, and so is one that an operator has paused; one that stands still otherwise is not. The probes ask neither Kafka nor PostgreSQL, so
// that they answer at once whatever hangs.
//
//	mux.Handle("/livez", health.Live(consumer, health.Limits{}))
//	mux.Handle("/readyz", health.Ready(consumer, health.Limits{}))
//
// # Which probe says what
//
// Live fails when a new process may help: a handler does not return, or Run has ended while the process has not.
// It does not fail while Kafka or PostgreSQL is away: a restart would not bring it back, and would cost the
// group a rebalance.
//
// Ready fails while the consumer does not work: it is not in its group yet, or a partition stands still for
// longer than the limit. Rolling updates wait for this probe, and an alert can use it.
//
// # The answer
//
// The status is 200 or 503. The body is JSON: whether the consumer is ok, the problems in
// sentences, and the consume.Health that was checked.
package health

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
)

// Source is a consumer: *kafkaadapter.Consumer, *franzadapter.Consumer.
type Source interface {
	Health() consume.Health
}

// Limits are the times after which something is a problem. Zero values mean the defaults.
type Limits struct {
	// Handler is how long a handler may run before Live and Ready fail. Default: 10 minutes. It should be
	// longer than consume.Config.HandlerTimeout.
	Handler time.Duration

	// Joining is how long it may take to join the group, at the start or in a rebalance, before Ready
	// fails. A consumer that starts is not ready at all. Default: 2 minutes.
	Joining time.Duration

	// Paused is how long a partition may stand still, wait for its former owner, or be at the same records
	// while no handler runs, before Ready fails: PostgreSQL does not answer, or the handler has failed.
	// Default: 1 minute.
	Paused time.Duration
}

func (l Limits) complete() Limits {
	return Limits{
		Handler: cmp.Or(max(l.Handler, 0), 10*time.Minute), Joining: cmp.Or(max(l.Joining, 0), 2*time.Minute), Paused: cmp.Or(max(l.Paused, 0), time.Minute),
	}
}

// Live returns the handler of a liveness probe.
func Live(source Source, limits Limits) http.Handler { return probe(source, limits, notLive) }

// Ready returns the handler of a readiness probe.
func Ready(source Source, limits Limits) http.Handler { return probe(source, limits, notReady) }

type answer struct {
	OK       bool           `json:"ok"`
	Problems []string       `json:"problems"`
	Health   consume.Health `json:"health"`
}

func probe(source Source, limits Limits, judge func(consume.Health, Limits) []string) http.Handler {
	limits = limits.complete()

	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := source.Health()
		a := answer{Problems: judge(h, limits), Health: h}
		a.OK = len(a.Problems) == 0
		if a.OK {
			a.Problems = []string{}
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !a.OK {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(a) // Who asked is away.
	})
}

func notLive(h consume.Health, limits Limits) (problems []string) {
	if h.State == consume.NotRunning {
		problems = append(problems, because("the consumer is not running", h.Reason))
	}
	for _, p := range h.Partitions {
		if lasts := h.At.Sub(p.Handler); !p.Handler.IsZero() && lasts > limits.Handler {
			problems = append(problems, fmt.Sprintf("a handler of partition %d of %s has not returned for %v, at offset %d or behind it",
				p.Partition, p.Topic, lasts.Round(time.Second), p.Position))
		}
	}

	return problems
}

func notReady(h consume.Health, limits Limits) []string {
	lasts := h.At.Sub(h.Since)
	switch {
	case h.State == consume.Joined:
	case h.State == consume.Joining && h.Generation >= 0 && lasts <= limits.Joining: // It was in the group, which rebalances.
	default:
		return []string{because(fmt.Sprintf("the consumer is %v, for %v now", h.State, lasts.Round(time.Second)), h.Reason)}
	}
	problems := notLive(h, limits)
	for _, p := range h.Partitions {
		lasts := h.At.Sub(p.Since)
		stands := p.State == consume.Acquiring || p.State == consume.Paused && p.Pause != consume.PauseOperator
		unanswered := p.State == consume.Processing && p.Handler.IsZero()
		switch {
		case unanswered && lasts > limits.Paused:
			problems = append(problems, fmt.Sprintf("partition %d of %s is at the same records, for %v now, and no handler runs: it waits for PostgreSQL or for another attempt", p.Partition, p.Topic, lasts.Round(time.Second)))
		case stands && lasts > limits.Paused:
			problems = append(problems, because(fmt.Sprintf("partition %d of %s is %v, for %v now", p.Partition, p.Topic, p.State, lasts.Round(time.Second)), p.Reason))
		}
	}

	return problems
}

func because(what, reason string) string {
	if reason == "" {
		return what
	}

	return what + ": " + reason
}
