package apachekafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/internal/daemon"
)

// readyTimeout is how long a broker may take to answer whether it is ready.
const readyTimeout = 5 * time.Second

var errNotReady = errors.New("not ready")

// node is one broker and controller.
type node struct {
	id             int
	port           int
	controllerPort int
	securePort     int
	process        *daemon.Process // nil while it is stopped
}

func (n *node) name() string           { return "broker-" + strconv.Itoa(n.id) }
func (n *node) addr() string           { return loopback(n.port) }
func (n *node) controllerAddr() string { return loopback(n.controllerPort) }
func (n *node) secureAddr() string     { return loopback(n.securePort) }

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// isReady returns nil if the broker is part of our cluster, also in its own eyes, has caught up
// with the others, and if groups can be used, whose topic Kafka only creates at the first need.
func (c *Cluster) isReady(ctx context.Context, node *node) error {
	transport := &kafka.Transport{} // A new one each time, because it remembers metadata.
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(node.addr()), Timeout: readyTimeout, Transport: transport}

	metadata, err := client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return fmt.Errorf("read the metadata: %w", err)
	}
	isItself := func(b kafka.Broker) bool { return b.ID == node.id }
	if metadata.ClusterID != c.id || !slices.ContainsFunc(metadata.Brokers, isItself) {
		return errNotReady
	}
	for _, topic := range metadata.Topics {
		for _, p := range topic.Partitions {
			if slices.ContainsFunc(p.Replicas, isItself) && !slices.ContainsFunc(p.Isr, isItself) {
				return fmt.Errorf("%w: it lags behind in %s/%d", errNotReady, topic.Name, p.ID)
			}
		}
	}
	offsets, err := client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: "ready"})
	if err != nil {
		return fmt.Errorf("ask for a group: %w", err)
	}

	return offsets.Error
}
