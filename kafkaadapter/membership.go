package kafkaadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nova-events/idempotent-consumer/internal/onceper"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/group"
)

var (
	errStopping = errors.New("the consumer is stopping")
	errRejoin   = errors.New("this member joins again")
)

// membership is this process's place in the consumer group.
type membership struct {
	*group.Member

	connections *connections
	late        onceper.Trouble // that commits fail
}

func newMembership(ctx context.Context, c *Consumer, connections *connections) *membership {
	quiet := context.WithoutCancel(ctx)

	return &membership{connections: connections, Member: group.New(group.Config{
		Brokers: connections.Client, Group: c.config.Group, InstanceID: c.config.InstanceID,
		SessionTimeout: c.config.SessionTimeout, RebalanceTimeout: c.config.RebalanceTimeout, HeartbeatInterval: c.config.HeartbeatInterval,
		Partitions: func(ctx context.Context, topics []string) (map[string]int, error) {
			return partitionsOf(ctx, connections, topics)
		},
		Log: func(level slog.Level, message string, args ...any) {
			var reason error
			if level >= slog.LevelWarn {
				reason = fmt.Errorf("%s: %v", message, args[len(args)-1])
			}
			c.engine.Because(reason)
			c.consume.Logger.Log(quiet, level, "kafkaadapter: "+message, args...)
		},
	})}
}

// partitionsOf returns how many partitions topics have. Other members may subscribe to topics that do not
// exist, or that this one may not see: those are left out.
func partitionsOf(ctx context.Context, connections *connections, topics []string) (map[string]int, error) {
	counts := make(map[string]int, len(topics))
	if len(topics) == 0 {
		return counts, nil // To ask for no names is to ask for all.
	}
	metadata, err := connections.Metadata(ctx, topics...)
	if err != nil {
		return nil, err
	}
	for _, t := range metadata.Topics {
		switch {
		case t.Err == nil:
			counts[t.Name] = t.Partitions
		case !unknownTopic(t.Err) && fatal(t.Err) == nil:
			return nil, t.Err
		}
	}

	return counts, nil
}
