package group

import (
	"context"
	"log/slog"
	"time"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/cluster"
)

// Config describes a member. All but InstanceID is required.
type Config struct {
	Brokers *cluster.Client
	Group   string

	// InstanceID makes the member a static one: it does not leave when it ends, and if it is back
	// within SessionTimeout it has the same partitions, and nobody was interrupted.
	InstanceID string

	SessionTimeout    time.Duration
	RebalanceTimeout  time.Duration
	HeartbeatInterval time.Duration

	// Partitions returns how many partitions the topics have. It is called when this member is the
	// group's leader, with the topics of all members. Topics that do not exist are left out.
	Partitions func(ctx context.Context, topics []string) (map[string]int, error)

	// Log gets what happens and what the member waits for, which is repeated once a minute.
	Log func(level slog.Level, message string, args ...any)
}
