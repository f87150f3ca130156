package kafkaadapter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/cluster"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/fetch"
)

// errHandshake is that of a connection which does not become one of TLS.
var errHandshake = errors.New("TLS handshake")

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
	encrypted, err := c.encrypt(ctx, plain, address)
	if err != nil {
		_ = plain.Close() // What has failed says more.

		return nil, err
	}

	return encrypted, nil
}

// encrypt makes a connection one of TLS, if that is wanted.
func (c *connections) encrypt(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
	if c.tls == nil {
		return conn, nil
	}
	config := c.tls
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		config = config.Clone()
		config.ServerName = host
	}
	encrypted := tls.Client(conn, config)
	if err := encrypted.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("%w with %s: %w", errHandshake, address, err)
	}

	return encrypted, nil
}
