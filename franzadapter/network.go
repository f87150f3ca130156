package franzadapter

import (
	"log/slog"
	"slices"

	"github.com/nova-events/idempotent-consumer/internal/unverified"
)

// sendsSecrets are the SASL mechanisms that send the password or the token itself.
var sendsSecrets = []string{"PLAIN", "OAUTHBEARER"}

// warnOfNetwork warns if somebody in the network between this machine and the brokers could read what gives
// access to them, or could answer in their place.
func (c Config) warnOfNetwork(log *slog.Logger) {
	if !slices.ContainsFunc(c.Brokers, func(address string) bool { return !unverified.Local(address) }) {
		return
	}
	switch {
	case c.TLS == nil && c.SASL != nil && slices.Contains(sendsSecrets, c.SASL.Name()):
		log.Warn("franzadapter: SASL sends the password over connections that are not encrypted; set Config.TLS, or use SCRAM", "mechanism", c.SASL.Name())
	case c.TLS != nil && unverified.Certificate(c.TLS):
		log.Warn("franzadapter: the brokers' certificates are not verified; set Config.TLS.RootCAs in place of InsecureSkipVerify")
	}
}
