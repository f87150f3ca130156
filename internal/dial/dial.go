// Package dial makes connections to brokers encrypted, and says what may be wrong with connections that fail.
package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

// ErrHandshake is that of a connection which does not become one of TLS.
var ErrHandshake = errors.New("TLS handshake")

// Encrypt makes a connection to an address one of TLS, unless config is nil. It does not close the connection if
// that fails.
func Encrypt(ctx context.Context, conn net.Conn, config *tls.Config, address string) (net.Conn, error) {
	if config == nil {
		return conn, nil
	}
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
		return nil, fmt.Errorf("%w with %s: %w", ErrHandshake, address, err)
	}

	return encrypted, nil
}

// Explain adds to a connection's error what it may mean: a broker closes a connection without a word that lacks the
// TLS or the SASL which its port wants. encrypted and authenticated say what the connection has.
func Explain(err error, encrypted, authenticated bool) error {
	closed := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
	switch {
	case errors.Is(err, ErrHandshake) && !errors.As(err, new(*tls.CertificateVerificationError)):
		return fmt.Errorf("%w; perhaps the broker's port is one without TLS: use the other port, or no Config.TLS", err)
	case closed && !encrypted && !authenticated:
		return fmt.Errorf("%w; perhaps the broker's port wants TLS (Config.TLS) or SASL (Config.SASL)", err)
	case closed && !encrypted:
		return fmt.Errorf("%w; perhaps the broker's port wants TLS (Config.TLS)", err)
	case closed && !authenticated:
		return fmt.Errorf("%w; perhaps the broker's port wants SASL (Config.SASL)", err)
	default:
		return err
	}
}
