package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	kafkasasl "github.com/segmentio/kafka-go/sasl"
	kafkaplain "github.com/segmentio/kafka-go/sasl/plain"
	kafkascram "github.com/segmentio/kafka-go/sasl/scram"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/franzadapter"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// envAdapter names the adapter, and the protocol of the group, with which the tests run: one of
// adapters. The default is kafkaadapter.
const envAdapter = "IDEM_TEST_ADAPTER"

// runner is a consumer of any adapter.
type runner interface {
	Run(ctx context.Context) error
	Health() consume.Health
}

// adapters make the same consumer with each adapter and group protocol.
var adapters = map[string]func(*idem.Guard, kafkaConfig, consume.Config) (runner, error){
	"kafka-go": func(guard *idem.Guard, source kafkaConfig, config consume.Config) (runner, error) {
		return kafkaadapter.New(guard, source, config)
	},
	"franz": func(guard *idem.Guard, source kafkaConfig, config consume.Config) (runner, error) {
		return franzadapter.New(guard, franzConfig(source), config)
	},
	"franz-eager": func(guard *idem.Guard, source kafkaConfig, config consume.Config) (runner, error) {
		c := franzConfig(source)
		c.Balancers = []kgo.GroupBalancer{kgo.RangeBalancer()}

		return franzadapter.New(guard, c, config)
	},
	"franz-server": func(guard *idem.Guard, source kafkaConfig, config consume.Config) (runner, error) {
		c := franzConfig(source)
		c.ServerSideBalancer = true

		return franzadapter.New(guard, c, config)
	},
}

// newConsumer makes a consumer with the adapter that the environment names.
func newConsumer(guard *idem.Guard, source kafkaConfig, config consume.Config) (runner, error) { //nolint:ireturn // It is any of them.
	name := os.Getenv(envAdapter)
	if name == "" {
		name = "kafka-go"
	}
	create := adapters[name]
	if create == nil {
		return nil, fmt.Errorf("%s is %q; use one of kafka-go, franz, franz-eager, franz-server", envAdapter, name)
	}

	return create(guard, source, config)
}

// newProducer makes the producer of a relay with the client of the adapter that the environment names.
func newProducer(brokers []string) (producer outbox.Producer, closeIt func(), err error) { //nolint:ireturn // It is either.
	return newSecureProducer(kafkaConfig{Brokers: brokers}, nil)
}

// newSecureProducer makes one that connects as a consumer does.
func newSecureProducer(source kafkaConfig, logger *slog.Logger) (producer outbox.Producer, closeIt func(), err error) { //nolint:ireturn // It is either.
	if onFranz() {
		p, err := franzadapter.NewProducer(franzadapter.ProducerConfig{Brokers: source.Brokers, TLS: source.TLS, SASL: franzLogin(source.SASL), Logger: logger})
		if err != nil {
			return nil, nil, err
		}

		return p, p.Close, nil
	}
	p, err := kafkaadapter.NewProducer(kafkaadapter.ProducerConfig{Brokers: source.Brokers, TLS: source.TLS, SASL: source.SASL, Logger: logger})
	if err != nil {
		return nil, nil, err
	}

	return p, p.Close, nil
}

func franzConfig(source kafkaConfig) franzadapter.Config {
	config := franzadapter.Config{
		Brokers: source.Brokers, ClientID: source.ClientID, TLS: source.TLS, SASL: franzLogin(source.SASL), Group: source.Group, InstanceID: source.InstanceID,
		Topics: source.Topics, TopicPattern: source.TopicPattern, TopicGrace: source.TopicGrace,
		SessionTimeout: source.SessionTimeout, HeartbeatInterval: source.HeartbeatInterval, RebalanceTimeout: source.RebalanceTimeout,
		MaxWait: source.MaxWait, MaxBytes: source.MaxBytes,
	}
	if deadlyDecompressor {
		config.Options = append(config.Options, kgo.WithDecompressor(deadlyDecoder{kgo.DefaultDecompressor()}))
	}

	return config
}

// scramLogin is a login by SCRAM-SHA-512. Those of kafka-go do not tell whose they are.
type scramLogin struct {
	kafkasasl.Mechanism

	user, password string
}

func newScramLogin(user, password string) (scramLogin, error) {
	mechanism, err := kafkascram.Mechanism(kafkascram.SHA512, user, password)

	return scramLogin{mechanism, user, password}, err
}

// franzLogin is a login of kafka-go for franz-go.
func franzLogin(login kafkasasl.Mechanism) sasl.Mechanism { //nolint:ireturn // It is any of them.
	switch login := login.(type) {
	case kafkaplain.Mechanism:
		return plain.Auth{User: login.Username, Pass: login.Password}.AsMechanism()
	case scramLogin:
		return scram.Auth{User: login.user, Pass: login.password}.AsSha512Mechanism()
	default:
		return nil
	}
}

// deadlyDecompressor has consumers on franz-go decompress as deadlyCodec does.
var deadlyDecompressor bool

type deadlyDecoder struct{ kgo.Decompressor }

func (d deadlyDecoder) Decompress(packed []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	plain, err := d.Decompressor.Decompress(packed, codec)
	if bytes.Contains(plain, []byte(exits)) {
		os.Exit(7)
	}

	return plain, err
}

// refusedWith reports whether err is the broker's of that code, as either client has it.
func refusedWith(err error, code kafka.Error) bool {
	var other *kerr.Error

	return errors.Is(err, code) || errors.As(err, &other) && other.Code == int16(code)
}

// onFranz reports whether the tests run with franzadapter.
func onFranz() bool { return strings.HasPrefix(os.Getenv(envAdapter), "franz") }

// kafkaGoOnly skips a test of what only kafkaadapter has.
func kafkaGoOnly(t *testing.T, why string) {
	t.Helper()
	if onFranz() {
		t.Skipf("not with franzadapter: %s", why)
	}
}

// isCooperative reports whether our members offer the cooperative sticky assignor, in place of range.
func isCooperative() bool { return os.Getenv(envAdapter) == "franz" }

// brokerShares reports whether the broker shares the partitions, in place of a member.
func brokerShares() bool { return os.Getenv(envAdapter) == "franz-server" }

// eagerOnly skips a test of a group in which each rebalance takes all partitions from their members.
func eagerOnly(t *testing.T, why string) {
	t.Helper()
	if isCooperative() || brokerShares() {
		t.Skipf("not with %s: %s", os.Getenv(envAdapter), why)
	}
}

// classicOnly skips a test in which the members share the partitions.
func classicOnly(t *testing.T) {
	t.Helper()
	if brokerShares() {
		t.Skip("not with franz-server: the broker shares the partitions")
	}
}
