package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/internal/logbuffer"
)

// certificate makes one for 127.0.0.1, and what trusts it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(trusted)

	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}}, &tls.Config{RootCAs: roots}
}

func TestEncryptedAndAuthenticatedConnections(t *testing.T) {
	t.Parallel()
	const user, password = "alice", "secret"
	server, client := certificate(t)
	login := plain.Mechanism{Username: user, Password: password}
	b := broker.InProcess(t, kfake.TLS(server), kfake.EnableSASL(), kfake.Superuser("PLAIN", user, password))
	transport := b.Client.Transport.(*kafka.Transport) //nolint:forcetypeassert // It is one.
	transport.TLS, transport.SASL = client, login
	s := setup(t, b, 2)
	b.Write(t, s.topic, events(0, 10, 2)...)
	m := s.start(t, func(c *settings) { c.TLS, c.SASL = client, login })
	s.awaitEffects(t, 10)
	m.leave(t)
	s.verify(t, 10)
}

// A broker that closes connections without a word may want what the configuration lacks, or not have what it
// asks for: one line says so.
func TestMissingTLSOrSASLIsExplained(t *testing.T) {
	t.Parallel()
	server, client := certificate(t)
	for name, test := range map[string]struct {
		brokers func(t *testing.T) []string
		tls     *tls.Config
		want    string
	}{
		"TLS":    {fakeBrokers(kfake.TLS(server)), nil, "wants TLS (Config.TLS) or SASL"},
		"SASL":   {fakeBrokers(kfake.TLS(server), kfake.EnableSASL(), kfake.Superuser("PLAIN", "alice", "secret")), client, "wants SASL"},
		"no TLS": {closingBrokers, client, "is one without TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			var log logbuffer.Buffer
			s.start(t, func(c *settings) {
				c.Brokers, c.TLS = test.brokers(t), test.tls
				c.Logger = slog.New(slog.NewTextHandler(&log, nil))
			})
			until(t, "the setting to be explained", func() bool { return len(log.Having(test.want)) > 0 })
			if told := log.Having("waiting for the topics"); len(told) != 1 {
				t.Errorf("told %q", told)
			}
		})
	}
}

// fakeBrokers starts an in-process broker with those options.
func fakeBrokers(options ...kfake.Opt) func(t *testing.T) []string {
	return func(t *testing.T) []string {
		t.Helper()
		cluster, err := kfake.NewCluster(append(options, kfake.NumBrokers(1))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cluster.Close)

		return cluster.ListenAddrs()
	}
}

// closingBrokers starts what closes a connection once it has read something, as Apache Kafka does if it takes what it
// reads for a request that is too large.
func closingBrokers(t *testing.T) []string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // It takes no time.
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // It is closed.
			}
			_, _ = conn.Read(make([]byte, 1<<10))
			_ = conn.Close()
		}
	})
	t.Cleanup(serving.Wait)
	t.Cleanup(func() { _ = listener.Close() })

	return []string{listener.Addr().String()}
}
