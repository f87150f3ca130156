package broker

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nova-events/idempotent-consumer/internal/apachekafka"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

const (
	// envBrokers names an Apache Kafka to use instead of starting one.
	envBrokers = "IDEM_TEST_KAFKA"

	// startTimeout has room for a download of Apache Kafka.
	startTimeout = 5 * time.Minute
)

var (
	started atomic.Pointer[apachekafka.Cluster]

	// shared returns the addresses of the Apache Kafka, which it starts if it is ours.
	shared = sync.OnceValues(func() ([]string, error) {
		if given := os.Getenv(envBrokers); given != "" {
			return strings.Split(given, ","), nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		cluster, err := apachekafka.Start(ctx, apachekafka.Config{Settings: impatient})
		if err != nil {
			return nil, fmt.Errorf("no Apache Kafka for the tests: set %s to addresses of brokers, or let the tests start it themselves: %w", envBrokers, err)
		}
		started.Store(cluster)

		return cluster.Addrs(), nil
	})
)

// impatient makes Apache Kafka compact and expire soon after it is allowed to.
var impatient = map[string]string{
	"log.initial.task.delay.ms":       "500",
	"log.retention.check.interval.ms": "500",
	"log.cleaner.backoff.ms":          "500",
}

// waiting is the goroutine that waits for the end of Apache Kafka's process. It is the only
// one of this package that outlives a test.
const waiting = "github.com/nova-events/idempotent-consumer/internal/daemon.(*Home).start.func1"

// Main runs the tests of a package, as pgtest.Main does, and stops the Apache Kafka. TestMain
// calls it; it does not return.
func Main(m *testing.M) {
	pgtest.Main(m, goleak.IgnoreAnyFunction(waiting), goleak.Cleanup(func(code int) {
		if cluster := started.Load(); cluster != nil {
			if err := cluster.Stop(); err != nil {
				fmt.Fprintln(os.Stderr, "broker:", err)
				code = max(code, 1)
			}
		}
		os.Exit(code)
	}))
}
