// Package kafkafacts asks a Kafka cluster what ops.Diagnose wants to know, with kafka-go.
package kafkafacts

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"github.com/nova-events/idempotent-consumer/internal/unverified"
)

// Form is how a target is written.
const Form = "host:9092,…, or kafka+tls://user:password@host:9093,…?sasl=SCRAM-SHA-512&ca=FILE"

const (
	plainScheme = "kafka"
	tlsScheme   = "kafka+tls"
)

var (
	errScheme   = errors.New("it must begin with " + plainScheme + ":// or " + tlsScheme + "://, or with a host")
	errBroker   = errors.New("each broker must have a host and a port")
	errPercent  = errors.New("special characters of user and password must be in percent form: @ as %40, / as %2F, ? as %3F")
	errNeedsTLS = errors.New("ca, cert and key need " + tlsScheme + "://")
)

// Target is a cluster, and how to be let in.
type Target struct {
	brokers []string
	tls     *tls.Config    // nil: no encryption
	sasl    sasl.Mechanism // nil: no authentication
}

// Parse reads a target of Form. Its errors do not show the text, which may hold a password.
//
// The parameters are sasl (PLAIN, which is the default where a user is named, SCRAM-SHA-256 or SCRAM-SHA-512), and
// files in PEM: ca, who signs the brokers' certificates (default: those whom this machine trusts), cert and key,
// for this client.
func Parse(text string) (Target, error) {
	scheme, rest, found := strings.Cut(strings.TrimSpace(text), "://")
	if !found {
		scheme, rest = plainScheme, scheme
	}
	if scheme != plainScheme && scheme != tlsScheme {
		return Target{}, errScheme
	}
	rest, query, _ := strings.Cut(rest, "?")
	values, err := url.ParseQuery(query)
	if err != nil || strings.Contains(query, "@") { // What stands before the ? is a part of the password.
		return Target{}, errPercent
	}
	var t Target
	login, hosts := "", rest
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		login, hosts = rest[:i], rest[i+1:]
	}
	for broker := range strings.SplitSeq(strings.TrimSuffix(hosts, "/"), ",") {
		host, port, _ := strings.Cut(broker[strings.LastIndex(broker, "]")+1:], ":")
		if port == "" || host == "" && !strings.HasPrefix(broker, "[") || strings.ContainsAny(broker, "/ ") {
			return Target{}, errBroker
		}
		t.brokers = append(t.brokers, broker)
	}
	if t.sasl, err = mechanism(login, values.Get("sasl")); err != nil {
		return Target{}, err
	}
	t.tls, err = encryption(scheme == tlsScheme, values)

	return t, err
}

// mechanism is how to log in, nil without a user.
func mechanism(login, name string) (sasl.Mechanism, error) { //nolint:ireturn // It is any of them.
	if login == "" {
		return nil, nil //nolint:nilnil // kafka-go wants none.
	}
	escapedUser, escapedPassword, _ := strings.Cut(login, ":")
	user, err := url.PathUnescape(escapedUser)
	if err != nil {
		return nil, errPercent
	}
	password, err := url.PathUnescape(escapedPassword)
	if err != nil {
		return nil, errPercent
	}
	switch strings.ToUpper(name) {
	case "", "PLAIN":
		return plain.Mechanism{Username: user, Password: password}, nil
	case "SCRAM-SHA-256":
		return scram.Mechanism(scram.SHA256, user, password)
	case "SCRAM-SHA-512":
		return scram.Mechanism(scram.SHA512, user, password)
	default:
		return nil, fmt.Errorf("the SASL mechanism must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, not %q", name)
	}
}

// encryption is the configuration of TLS, nil if that is not wanted.
func encryption(wanted bool, values url.Values) (*tls.Config, error) {
	ca, cert, key := values.Get("ca"), values.Get("cert"), values.Get("key")
	if !wanted {
		if ca+cert+key != "" {
			return nil, errNeedsTLS
		}

		return nil, nil //nolint:nilnil // kafka-go wants none.
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", ca)
		}
	}
	if cert+key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("read cert and key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}

	return config, nil
}

// SendsPassword reports whether the password goes through the network as it is.
func (t Target) SendsPassword() bool {
	if t.tls != nil || t.sasl == nil || t.sasl.Name() != (plain.Mechanism{}).Name() {
		return false
	}
	for _, broker := range t.brokers {
		if !unverified.Local(broker) {
			return true
		}
	}

	return false
}
