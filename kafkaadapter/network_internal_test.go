package kafkaadapter

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// scram is a mechanism that does not send the password.
type scram struct{ sasl.Mechanism }

func (scram) Name() string { return "SCRAM-SHA-256" }

func TestUnencryptedPasswordWarnsOnce(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), "postgres://127.0.0.1:1/x")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	guard, err := idem.New(pool, idem.Config{Consumer: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	login := plain.Mechanism{Username: "me", Password: "zebra"}
	verifies := &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(tls.ConnectionState) error { return x509.CertificateInvalidError{} }} //nolint:gosec // It verifies otherwise.
	for name, c := range map[string]struct {
		broker string
		sasl   sasl.Mechanism
		tls    *tls.Config
		want   string
	}{
		"PLAIN without TLS":             {"kafka:9092", login, nil, "mechanism=PLAIN"},
		"PLAIN without TLS, loopback":   {"127.0.0.1:9092", login, nil, ""},
		"PLAIN without TLS, localhost":  {"localhost:9092", login, nil, ""},
		"PLAIN with TLS":                {"kafka:9092", login, &tls.Config{}, ""},
		"SCRAM without TLS":             {"kafka:9092", scram{login}, nil, ""},
		"no password":                   {"kafka:9092", nil, nil, ""},
		"any certificate":               {"kafka:9092", login, &tls.Config{InsecureSkipVerify: true}, "not verified"}, //nolint:gosec // It is the test's subject.
		"certificate verified by hand":  {"kafka:9092", login, verifies, ""},
		"any certificate, but loopback": {"[::1]:9092", login, &tls.Config{InsecureSkipVerify: true}, ""}, //nolint:gosec // It is the test's subject.
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			_, err := New(guard, Config{
				Brokers: []string{c.broker}, Group: "g", Topics: []string{"t"}, SASL: c.sasl, TLS: c.tls,
			}, consume.Config{
				Handle: func(context.Context, pgx.Tx, consume.Message) error { return nil },
				Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Count(log.String(), "\n")
			if c.want == "" && lines != 0 || c.want != "" && (lines != 1 || !strings.Contains(log.String(), c.want)) || strings.Contains(log.String(), "zebra") {
				t.Errorf("log %q, want %q", log.String(), c.want)
			}
		})
	}
}
