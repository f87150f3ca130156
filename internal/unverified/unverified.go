// Package unverified finds connections on which somebody in the network could listen, or could answer in
// place of the server.
package unverified

import (
	"crypto/tls"
	"net"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgconn"
)

// Certificate reports whether connections with config trust any certificate. Config is not nil.
func Certificate(config *tls.Config) bool {
	return config.InsecureSkipVerify && config.VerifyPeerCertificate == nil && config.VerifyConnection == nil
}

// Postgres says what the connections lack that can be made with config, or "". Those that do not leave the
// machine lack nothing.
func Postgres(config *pgconn.Config) string {
	lacks := ""
	first := &pgconn.FallbackConfig{Host: config.Host, TLSConfig: config.TLSConfig}
	for _, way := range append([]*pgconn.FallbackConfig{first}, config.Fallbacks...) {
		switch {
		case Local(way.Host):
		case way.TLSConfig == nil:
			return "encryption is not required"
		case Certificate(way.TLSConfig):
			lacks = "the server's certificate is not verified"
		}
	}

	return lacks
}

// Local reports whether a host, with or without a port, is this machine: a socket, localhost or a loopback
// address.
func Local(address string) bool {
	host := address
	if name, _, err := net.SplitHostPort(address); err == nil {
		host = name
	}
	ip := net.ParseIP(host)

	return host == "localhost" || filepath.IsAbs(host) || host != "" && host[0] == '@' || ip != nil && ip.IsLoopback()
}
