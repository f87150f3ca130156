package daemon

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken from below the range that the system gives to outgoing connections. A
// client that keeps dialing a stopped server's port from that range will sooner or later be
// given the very same port as its own, connect to itself, and keep the server from coming
// back.
const (
	minPort = 15000
	maxPort = 32000

	// portAttempts is how often another port is tried when somebody else was faster.
	portAttempts = 5
)

// OnFreePort calls start with TCP ports of 127.0.0.1 that nobody listens on, until it
// succeeds or fails for another reason than the port.
func OnFreePort(ctx context.Context, start func(port int) error) error {
	for attempt := 1; ; attempt++ {
		port, err := freePort(ctx)
		if err != nil {
			return err
		}
		err = start(port)
		if err == nil || attempt == portAttempts || isFree(ctx, port) {
			return err
		}
	}
}

func freePort(ctx context.Context) (int, error) {
	for range 100 {
		if port := minPort + rand.IntN(maxPort-minPort); isFree(ctx, port) { //nolint:gosec // Not a secret.
			return port, nil
		}
	}

	return 0, errors.New("found no free TCP port")
}

// isFree reports whether a server could listen on that port of 127.0.0.1.
func isFree(ctx context.Context, port int) bool {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}

	return listener.Close() == nil
}
