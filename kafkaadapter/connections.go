package kafkaadapter

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/nova-events/idempotent-consumer/internal/dial"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/cluster"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/fetch"
)

// connections are those of a consumer.
type connections struct {
	*cluster.Client

	dialer net.Dialer
	tls    *tls.Config

	fetcher *fetch.Fetcher // set by Consumer.runGroup
	quota   fetch.Quota    // what brokers say of the client's quotas
}

func newConnections(config Config) *connections {
	c := &connections{tls: config.TLS}
	c.Client = cluster.New(cluster.Config{Brokers: config.Brokers, ClientID: config.ClientID, Dial: c.dial, SASL: config.SASL})

	return c
}

func (c *connections) dial(ctx context.Context, network, address string) (net.Conn, error) {
	plain, err := c.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	encrypted, err := dial.Encrypt(ctx, plain, c.tls, address)
	if err != nil {
		_ = plain.Close() // What has failed says more.

		return nil, err
	}

	return encrypted, nil
}
