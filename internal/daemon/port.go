package daemon

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
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
	return OnFreePorts(ctx, 1, func(ports []int) error { return start(ports[0]) })
}

// OnFreePorts is OnFreePort for programs that need n different ports.
func OnFreePorts(ctx context.Context, n int, start func(ports []int) error) error {
	for attempt := 1; ; attempt++ {
		ports, err := freePorts(ctx, n)
		if err != nil {
			return err
		}
		err = start(ports)
		taken := func(port int) bool { return !isFree(ctx, port) }
		if err == nil || attempt == portAttempts || !slices.ContainsFunc(ports, taken) {
			return err
		}
	}
}

func freePorts(ctx context.Context, n int) ([]int, error) {
	var ports []int
	for range 100 {
		if len(ports) == n {
			return ports, nil
		}
		port := minPort + rand.IntN(maxPort-minPort) //nolint:gosec // Not a secret.
		if !slices.Contains(ports, port) && isFree(ctx, port) {
			ports = append(ports, port)
		}
	}

	return nil, errors.New("found no free TCP port")
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
