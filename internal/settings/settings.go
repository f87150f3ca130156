// Package settings checks what the configurations of all adapters have in common.
package settings

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
)

// Source says where records come from. The fields are those of the adapters' Config, defaults filled in.
type Source struct {
	Brokers      []string
	Group        string
	Topics       []string
	TopicPattern *regexp.Regexp
	MaxBytes     int
	InstanceID   string

	TopicGrace, SessionTimeout, HeartbeatInterval, RebalanceTimeout, MaxWait time.Duration
}

// validInstance is what Kafka's own clients allow.
var validInstance = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// Validate returns an error that wraps consume.ErrInvalidConfig and says what makes no sense.
func (s Source) Validate() error {
	switch {
	case len(s.Brokers) == 0 || slices.Contains(s.Brokers, ""):
		return fmt.Errorf("%w: Brokers is empty or has an empty address; give host:port", consume.ErrInvalidConfig)
	case s.Group == "":
		return fmt.Errorf("%w: Group is empty", consume.ErrInvalidConfig)
	case (len(s.Topics) == 0) == (s.TopicPattern == nil) || slices.Contains(s.Topics, ""):
		return fmt.Errorf("%w: give either Topics, without empty names, or a TopicPattern", consume.ErrInvalidConfig)
	case len(slices.Compact(slices.Sorted(slices.Values(s.Topics)))) != len(s.Topics):
		return fmt.Errorf("%w: Topics names a topic twice", consume.ErrInvalidConfig)
	case s.InstanceID != "" && !validInstance.MatchString(s.InstanceID):
		return fmt.Errorf("%w: InstanceID may have only letters, digits, dots, underscores and hyphens, and at most 249 of them", consume.ErrInvalidConfig)
	case s.MaxBytes < 0 || s.MaxBytes > math.MaxInt32:
		return fmt.Errorf("%w: MaxBytes is %d; use 1 to %d", consume.ErrInvalidConfig, s.MaxBytes, math.MaxInt32)
	case s.HeartbeatInterval >= s.SessionTimeout:
		return fmt.Errorf("%w: HeartbeatInterval %v is not less than SessionTimeout %v", consume.ErrInvalidConfig, s.HeartbeatInterval, s.SessionTimeout)
	}

	return consume.CheckDurations(map[string]time.Duration{
		"SessionTimeout": s.SessionTimeout, "HeartbeatInterval": s.HeartbeatInterval, "RebalanceTimeout": s.RebalanceTimeout,
		"MaxWait": s.MaxWait, "TopicGrace": s.TopicGrace,
	})
}

// SeveralTopics reports whether records may come from more than one topic.
func (s Source) SeveralTopics() bool { return len(s.Topics) > 1 || s.TopicPattern != nil }
