package daemon

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are taken from below the range that the system gives to outgoing connections. A
// client that keeps dialing a stopped server's port from that range will sooner or later be
// given the very same port as its own, connect to itself, and keep the server from coming
// back.
const (
	minPort = 15000
	maxPort = 32000
)

// FreePort returns a TCP port of 127.0.0.1 that nobody listens on at the moment.
func FreePort(ctx context.Context) (int, error) {
	for range 100 {
		if port := minPort + rand.IntN(maxPort-minPort); PortIsFree(ctx, port) { //nolint:gosec // Not a secret.
			return port, nil
		}
	}

	return 0, errors.New("found no free TCP port")
}

// PortIsFree reports whether a server could listen on that port of 127.0.0.1.
func PortIsFree(ctx context.Context, port int) bool {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}

	return listener.Close() == nil
}
