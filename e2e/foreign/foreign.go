// Package foreign starts members of consumer groups that run other clients than ours: Apache Kafka's own
// for Java, librdkafka and franz-go.
package foreign

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"
)

// leaveTimeout is how long a member may take to leave its group.
const leaveTimeout = 30 * time.Second

// Config says what a member consumes.
type Config struct {
	Brokers        []string
	Group          string
	Topic          string
	SessionTimeout time.Duration

	// InstanceID makes a static member. Default: none.
	InstanceID string

	// HeartbeatInterval is also how soon a member learns of a rebalance.
	HeartbeatInterval time.Duration

	// Consumed is called for each record, by several goroutines if there are several members.
	Consumed func(partition int, offset int64)
}

// Client starts members of one kind, which begin at the first record of a topic of which their group has
// committed nothing and commit by themselves.
type Client func(t testing.TB, config Config) Member

// Member is a running member of a group.
type Member interface {
	// Leave stops the member in order, once.
	Leave(t testing.TB)

	// Ended tells whether the member has ended, asked or not.
	Ended() bool

	// Said is what it has complained of.
	Said() string
}

// skipWithout skips the test on a developer's machine that lacks what must be installed first.
func skipWithout(t testing.TB, err error, missing ...error) {
	t.Helper()
	isMissing := slices.ContainsFunc(missing, func(m error) bool { return errors.Is(err, m) })
	if isMissing && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}
