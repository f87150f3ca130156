package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/sasl"
)

// authenticate authenticates the user.
func (c *Conn) authenticate(ctx context.Context, address string, mechanism sasl.Mechanism) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("port of %s: %w", address, err)
	}
	a, err := c.Ask(ctx, Request{
		Key: protocol.SaslHandshake, Oldest: 1, Newest: 1,
		Encode: func(w *Writer, _ int16) { w.Text(mechanism.Name()) },
	})
	if err != nil {
		return err
	}
	if err := a.Err(protocol.SaslHandshake, kafka.Error(a.Int16())); err != nil {
		return err
	}
	session, said, err := mechanism.Start(sasl.WithMetadata(ctx, &sasl.Metadata{Host: host, Port: number}))
	for done := false; err == nil && !done; {
		var challenge []byte
		if challenge, err = c.challenge(ctx, said); err == nil {
			done, said, err = session.Next(ctx, challenge)
		}
	}

	return err
}

// challenge sends the mechanism's message to the broker, and returns its answer.
func (c *Conn) challenge(ctx context.Context, said []byte) ([]byte, error) {
	a, err := c.Ask(ctx, Request{
		Key: protocol.SaslAuthenticate, Oldest: 0, Newest: 1,
		Encode: func(w *Writer, _ int16) { w.LongBytes(said) },
	})
	switch {
	case errors.Is(err, io.EOF): // Some brokers say so that they refuse the user.
		return nil, kafka.SASLAuthenticationFailed
	case err != nil:
		return nil, err
	}
	code, reason, challenge := kafka.Error(a.Int16()), a.Text(), a.LongBytes()
	if err := a.Err(protocol.SaslAuthenticate, code); err != nil {
		return nil, fmt.Errorf("%w %s", err, reason)
	}

	return challenge, nil
}
