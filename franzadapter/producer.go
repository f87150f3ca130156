package franzadapter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/unverified"
	"github.com/nova-events/idempotent-consumer/outbox"
)

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

	// Logger gets the complaints of franz-go, each once a minute. Default slog.Default().
	Logger *slog.Logger

	// Options are more options of franz-go: compression, a dialer, hooks. This package overrides those
	// that decide what is acknowledged, in which order, and when records are sent. Leave kgo.ProducerBatchMaxBytes larger than
	// outbox.Config.MaxBytes by a tenth.
	Options []kgo.Opt
}

// Producer sends the records of an outbox.Relay to Kafka with an idempotent producer, acknowledged by all in-sync
// replicas. Keys are partitioned as by Kafka's own client. Topics are not created. Only one relay may use it.
type Producer struct{ client *kgo.Client }

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
	options := append(slices.Clip(config.Options),
		kgo.SeedBrokers(config.Brokers...), kgo.ClientID(config.ClientID), kgo.WithLogger(&clientLog{log: config.Logger}),
		kgo.MetadataMinAge(metadataMinAge), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),

		// Nothing is sent before all is there, so that a partition gets one batch.
		kgo.ManualFlushing(), kgo.MaxBufferedRecords(math.MaxInt32),

		// The relay's turn ends. What it sends again is recognized downstream.
		kgo.AllowIdempotentProduceCancellation(),
	)
	if config.TLS != nil {
		options = append(options, kgo.DialTLSConfig(config.TLS))
	}
	if config.SASL != nil {
		options = append(options, kgo.SASL(config.SASL))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", consume.ErrInvalidConfig, err)
	}

	return &Producer{client}, nil
}

// Close closes the connections.
func (p *Producer) Close() { p.client.Close() }

// Produce implements outbox.Producer.
func (p *Producer) Produce(ctx context.Context, records []outbox.Record) []error {
	errs := make([]error, len(records))
	var all sync.WaitGroup
	all.Add(len(records))
	for i, r := range records {
		p.client.Produce(ctx, produced(r), func(_ *kgo.Record, err error) {
			errs[i] = unacknowledged(r.Topic, err)
			all.Done()
		})
	}
	_ = p.client.Flush(context.WithoutCancel(ctx)) // The records end with ctx, but only while somebody flushes.
	all.Wait()

	return errs
}

func produced(r outbox.Record) *kgo.Record {
	record := &kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		record.Headers = append(record.Headers, kgo.RecordHeader(h))
	}

	return record
}

// unacknowledged is the error of a record that was not acknowledged.
func unacknowledged(topic string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("franzadapter: produce to %s: %w", topic, err)
	if errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge) || errors.Is(err, kerr.InvalidRecord) {
		return fmt.Errorf("%w: %w", outbox.ErrRefused, err)
	}

	return err
}
