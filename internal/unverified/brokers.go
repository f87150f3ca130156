package unverified

import (
	"crypto/tls"
	"log/slog"
	"slices"
)

// sendsSecrets are the SASL mechanisms that send the password or the token itself.
var sendsSecrets = []string{"PLAIN", "OAUTHBEARER"}

// WarnOfBrokers warns if somebody in the network between this machine and Kafka's brokers could read what
// gives access to them, or could answer in their place. mechanism is that of SASL, or nil.
func WarnOfBrokers(log *slog.Logger, brokers []string, config *tls.Config, mechanism interface{ Name() string }) {
	if !slices.ContainsFunc(brokers, func(address string) bool { return !Local(address) }) {
		return
	}
	switch {
	case config == nil && mechanism != nil && slices.Contains(sendsSecrets, mechanism.Name()):
		log.Warn("consume: SASL sends the password over connections that are not encrypted; set Config.TLS, or use SCRAM", "mechanism", mechanism.Name())
	case config != nil && Certificate(config):
		log.Warn("consume: the brokers' certificates are not verified; set Config.TLS.RootCAs in place of InsecureSkipVerify")
	}
}
