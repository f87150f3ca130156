package broker

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/nova-events/idempotent-consumer/internal/daemon"
)

// removable returns an in-process cluster whose brokers can be taken away, but for the last
// one. Others then lead its partitions and coordinate its groups.
func removable(t testing.TB, brokers int) *Faulty {
	t.Helper()
	nodes := &removableNodes{}
	cluster := onFreePorts(t, brokers, func(ports []int) (*kfake.Cluster, error) {
		nodes.ports = ports

		return kfake.NewCluster(kfake.Ports(ports...), kfake.GroupMinSessionTimeout(fakeMinSession), shortSessions(), kfake.ListenFn(listenAsAProcess))
	})
	t.Cleanup(cluster.Close)
	nodes.cluster = cluster

	b := newBroker(t, cluster.ListenAddrs(), fakeMinSession)
	b.Fake = cluster

	return &Faulty{Broker: b, nodes: nodes}
}

type removableNodes struct {
	cluster *kfake.Cluster
	ports   []int // by id
}

func (n *removableNodes) Kill(ids ...int) {
	for _, id := range ids {
		_ = n.cluster.RemoveNode(int32(id)) //nolint:gosec // It fails if that is done already.
	}
}

func (n *removableNodes) Recover(_ context.Context, ids ...int) error {
	var errs []error
	for _, id := range ids {
		if slices.Contains(n.cluster.ListenAddrs(), loopback(n.ports[id])) {
			continue
		}
		_, _, err := n.cluster.AddNode(int32(id), n.ports[id]) //nolint:gosec // It is an id.
		errs = append(errs, err)
	}

	return errors.Join(errs...)
}

func (n *removableNodes) Restart(ctx context.Context, ids ...int) error {
	n.Kill(ids...)

	return n.Recover(ctx, ids...)
}

// listenAsAProcess listens for a broker that takes its connections with it when it is taken away. Else it answers on them for ever that it
// leads nothing, also when another broker with its address leads again.
func listenAsAProcess(network, address string) (net.Listener, error) {
	l, err := net.Listen(network, address) //nolint:noctx // It does not wait.

	return &processListener{Listener: l}, err
}

type processListener struct {
	net.Listener

	mu     sync.Mutex
	closed bool
	conns  []net.Conn
}

func (l *processListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, conn)
	if l.closed {
		_ = conn.Close()
	}

	return conn, nil
}

func (l *processListener) Close() error {
	err := l.Listener.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, conn := range l.conns {
		_ = conn.Close()
	}

	return err
}

// persistent returns an in-process broker that keeps its data in a folder.
func persistent(t testing.TB) *Faulty {
	t.Helper()
	node := &persistentNode{}
	folder := t.TempDir()
	node.cluster = onFreePorts(t, 1, func(ports []int) (*kfake.Cluster, error) {
		node.options = []kfake.Opt{
			kfake.Ports(ports...), kfake.GroupMinSessionTimeout(fakeMinSession), shortSessions(), kfake.DataDir(folder),
		}

		return kfake.NewCluster(node.options...)
	})
	t.Cleanup(func() { node.Kill() })

	return &Faulty{Broker: newBroker(t, node.cluster.ListenAddrs(), fakeMinSession), nodes: node}
}

// onFreePorts starts an in-process cluster on ports that stay free while a broker is away.
func onFreePorts(t testing.TB, brokers int, start func(ports []int) (*kfake.Cluster, error)) (cluster *kfake.Cluster) {
	t.Helper()
	err := daemon.OnFreePorts(t.Context(), brokers, func(ports []int) (err error) {
		cluster, err = start(ports)

		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	return cluster
}

type persistentNode struct {
	options []kfake.Opt
	cluster *kfake.Cluster // nil while it is closed
}

func (n *persistentNode) Kill(...int) {
	if n.cluster != nil {
		n.cluster.Close()
		n.cluster = nil
	}
}

func (n *persistentNode) Recover(context.Context, ...int) (err error) {
	if n.cluster == nil {
		n.cluster, err = kfake.NewCluster(n.options...)
	}

	return err
}

func (n *persistentNode) Restart(ctx context.Context, ids ...int) error {
	n.Kill(ids...)

	return n.Recover(ctx, ids...)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
