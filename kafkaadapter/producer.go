package kafkaadapter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/dial"
	"github.com/nova-events/idempotent-consumer/internal/unverified"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/cluster"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// partitionsAge is after which time a Producer asks how many partitions the topics have.
const partitionsAge = time.Minute

// ProducerConfig is where the records of an outbox go. Brokers is required.
type ProducerConfig struct {
	// Brokers are addresses of the cluster: host:port, one or more.
	Brokers []string

	// ClientID names the client in the broker's logs, metrics and quotas. Default "outbox".
	ClientID string

	// TLS encrypts the connections. Default: no encryption.
	TLS *tls.Config

	// SASL authenticates them. Default: no authentication.
	SASL sasl.Mechanism

	// Compression compresses the batches. Default: none.
	Compression kafka.Compression

	// Logger gets warnings about connections that others could read. Default slog.Default().
	Logger *slog.Logger
}

// Producer sends the records of an outbox.Relay to Kafka, acknowledged by all in-sync replicas, with one request under
// way for each partition. Keys are partitioned as by Kafka's own client; records of a call that have no key share a
// partition of their topic. Topics are not created. Only one relay may use it.
type Producer struct {
	config      ProducerConfig
	connections *connections
	partitions  map[string][]int // the partitions of the topics that are known
	asked       time.Time        // when they were asked for
}

var _ outbox.Producer = (*Producer)(nil)

// NewProducer returns a Producer. It does no I/O. Errors wrap consume.ErrInvalidConfig.
func NewProducer(config ProducerConfig) (*Producer, error) {
	if len(config.Brokers) == 0 || slices.Contains(config.Brokers, "") {
		return nil, fmt.Errorf("%w: Brokers is empty or has an empty address; give host:port", consume.ErrInvalidConfig)
	}
	if config.ClientID == "" {
		config.ClientID = "outbox"
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	unverified.WarnOfBrokers(config.Logger, config.Brokers, config.TLS, config.SASL)

	return &Producer{
		config: config, partitions: map[string][]int{},
		connections: newConnections(Config{Brokers: config.Brokers, ClientID: config.ClientID, TLS: config.TLS, SASL: config.SASL}),
	}, nil
}

// Close closes the connections.
func (p *Producer) Close() { p.connections.Close() }

// Produce implements outbox.Producer.
func (p *Producer) Produce(ctx context.Context, records []outbox.Record) []error {
	unknown := p.learn(ctx, records)
	type place struct {
		topic     string
		partition int
	}
	batches := make(map[place]*cluster.Batch)
	of := make([]*cluster.Batch, len(records)) // that a record is in
	alone := make(map[string]int)              // where the records without a key go, by topic
	for i, r := range records {
		if unknown[r.Topic] != nil {
			continue
		}
		at := place{r.Topic, p.partition(r, alone)}
		if batches[at] == nil {
			batches[at] = &cluster.Batch{Topic: at.topic, Partition: at.partition}
		}
		of[i] = batches[at]
		of[i].Records = append(of[i].Records, produced(r))
	}
	p.connections.Produce(ctx, p.config.Compression, slices.Collect(maps.Values(batches))...)

	errs := make([]error, len(records))
	for i, r := range records {
		switch err := unknown[r.Topic]; {
		case err != nil:
			errs[i] = fmt.Errorf("kafkaadapter: find the topic %s: %w", r.Topic, err)
		case of[i].Err != nil:
			errs[i] = p.unacknowledged(of[i])
		}
	}

	return errs
}

// learn finds out how many partitions the topics have, if that is not known or was long ago. It returns the topics
// of which it is not known.
func (p *Producer) learn(ctx context.Context, records []outbox.Record) (unknown map[string]error) {
	topics := make(map[string]bool)
	known := time.Since(p.asked) < partitionsAge
	for _, r := range records {
		topics[r.Topic] = true
		known = known && p.partitions[r.Topic] != nil
	}
	if known {
		return nil
	}
	for topic := range p.partitions {
		topics[topic] = true
	}
	names := slices.Sorted(maps.Keys(topics))
	p.connections.Follow(names)
	answer, err := p.connections.Metadata(ctx, names...)
	unknown = make(map[string]error, len(names))
	clear(p.partitions)
	for _, name := range names {
		unknown[name] = kafka.UnknownTopicOrPartition
		if err != nil {
			unknown[name] = p.explained(err)
		}
	}
	for _, topic := range answer.Topics {
		switch {
		case topic.Err != nil:
			unknown[topic.Name] = topic.Err
		case topic.Partitions > 0:
			delete(unknown, topic.Name)
			p.partitions[topic.Name] = make([]int, topic.Partitions)
			for i := range topic.Partitions {
				p.partitions[topic.Name][i] = i
			}
		}
	}
	p.asked = time.Now()

	return unknown
}

// partition chooses the partition of a record.
func (p *Producer) partition(r outbox.Record, alone map[string]int) int {
	all := p.partitions[r.Topic]
	if len(r.Key) > 0 {
		return kafka.Murmur2Balancer{}.Balance(kafka.Message{Key: r.Key}, all...)
	}
	if _, chosen := alone[r.Topic]; !chosen {
		alone[r.Topic] = rand.IntN(len(all)) //nolint:gosec // It is no secret.
	}

	return alone[r.Topic]
}

func produced(r outbox.Record) kafka.Record {
	headers := make([]kafka.Header, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = kafka.Header(h)
	}
	record := kafka.Record{Headers: headers}
	if len(r.Key) > 0 {
		record.Key = kafka.NewBytes(r.Key)
	}
	if r.Value != nil {
		record.Value = kafka.NewBytes(r.Value)
	}

	return record
}

// explained adds to a connection's error what it may mean.
func (p *Producer) explained(err error) error {
	return dial.Explain(err, p.config.TLS != nil, p.config.SASL != nil)
}

// unacknowledged is the error of a batch that was not acknowledged.
func (p *Producer) unacknowledged(b *cluster.Batch) error {
	err := fmt.Errorf("kafkaadapter: produce to %s/%d: %w", b.Topic, b.Partition, p.explained(b.Err))
	if errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge) || errors.Is(err, kafka.InvalidRecord) {
		return fmt.Errorf("%w: %w", outbox.ErrRefused, err)
	}

	return err
}
