// Package apachekafka starts a temporary Apache Kafka for tests and the demo, with Java and
// without containers. What it consists of is downloaded once by Maven and kept in the user's
// cache folder. It ends with this process, even if that is killed.
package apachekafka

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/nova-events/idempotent-consumer/internal/daemon"
)

// DefaultVersion is the version of Apache Kafka that Start starts unless envVersion or a
// Config names another. Those from 3.9 on work.
const DefaultVersion = "4.3.1"

// envVersion names another version for all tests.
const envVersion = "IDEM_TEST_KAFKA_VERSION"

//go:embed log4j2.properties
var logging []byte

// Config says how a cluster runs. The zero value is right for most tests.
type Config struct {
	// Version of Apache Kafka. Default what IDEM_TEST_KAFKA_VERSION says, else DefaultVersion.
	Version string

	// Brokers is their number, each of which is a controller, too. Default 1. With 3 the
	// cluster survives the loss of one.
	Brokers int

	// Settings are further settings of the brokers, such as "log.retention.ms": "1000". They
	// override the ones made here. New groups do not wait for more members unless
	// group.initial.rebalance.delay.ms is set.
	Settings map[string]string

	// Advertise returns the address by which clients are told to reach the broker that listens on addr, such as
	// that of a proxy. Default addr itself.
	Advertise func(addr string) string

	// KeyStore is a private key and its certificate, in PEM. With it the brokers listen at SecureAddrs, too, for clients
	// with TLS that authenticate themselves by SCRAM-SHA-512. Default: they do not.
	KeyStore []byte

	// Progress receives a message while Apache Kafka is downloaded. Default os.Stderr.
	Progress io.Writer
}

// Cluster is a running Apache Kafka. It listens on 127.0.0.1 only, and at Addrs without encryption and
// passwords. Its brokers are known by the ids that Kafka's metadata has: 1 and up.
//
// Its methods must not be called at the same time.
type Cluster struct {
	id        string
	java      string
	jars      string // folder
	overrides map[string]string
	advertise func(addr string) string
	keyStore  []byte
	home      *daemon.Home
	nodes     []*node
}

// Start creates and starts a cluster in a temporary folder and waits until it serves groups.
// Its errors say what to do and hold the end of a broker's log; they are ErrNoJava or
// ErrNoMaven if that is what must be installed first.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	c, err := newCluster(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("apachekafka: %w", err)
	}

	return c, nil
}

func newCluster(ctx context.Context, cfg Config) (*Cluster, error) {
	if cfg.Progress == nil {
		cfg.Progress = os.Stderr
	}
	if cfg.Advertise == nil {
		cfg.Advertise = func(addr string) string { return addr }
	}
	java, err := findJava(ctx)
	if err != nil {
		return nil, err
	}
	jars, err := install(ctx, cmp.Or(cfg.Version, defaultVersion()), cfg.Progress)
	if err != nil {
		return nil, err
	}
	home, err := daemon.NewHome("", "idem-kafka-")
	if err != nil {
		return nil, err
	}
	home.LastSignal = syscall.SIGKILL // At SIGQUIT Java reports on its threads and goes on.

	c := &Cluster{id: newID(), java: java, jars: jars, overrides: cfg.Settings, advertise: cfg.Advertise, keyStore: cfg.KeyStore, home: home}
	brokers := cmp.Or(cfg.Brokers, 1)
	err = daemon.OnFreePorts(ctx, 3*brokers, func(ports []int) error {
		c.Kill() // Of another attempt some may have started.
		c.nodes = nil
		for three := range slices.Chunk(ports, 3) {
			c.nodes = append(c.nodes, &node{id: len(c.nodes) + 1, port: three[0], controllerPort: three[1], securePort: three[2]})
		}

		return c.boot(ctx)
	})
	if err != nil {
		return nil, errors.Join(err, c.Stop())
	}

	return c, nil
}

func defaultVersion() string { return cmp.Or(os.Getenv(envVersion), DefaultVersion) }

// newID makes a cluster id: 16 bytes in a certain form of base64, which must not begin with
// what looks like an option.
func newID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // It never fails.
	id[0] &= 0x7f

	return base64.RawURLEncoding.EncodeToString(id[:])
}

// boot prepares the data folders and launches the brokers.
func (c *Cluster) boot(ctx context.Context) error {
	if err := c.home.WriteFile("log4j2.properties", logging); err != nil {
		return err
	}
	if err := c.home.WriteFile(keyStoreFile, c.keyStore); err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for _, node := range c.nodes {
		file := node.name() + ".properties"
		if err := c.home.WriteFile(file, properties(c.settings(node.id))); err != nil {
			return err
		}
		group.Go(func() error {
			return c.home.Run(groupCtx, c.java, c.javaArgs("kafka.tools.StorageTool",
				"format", "--ignore-formatted", "--cluster-id", c.id, "--config", c.home.Path(file))...)
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("prepare the data folders: %w", err)
	}

	return c.launch(ctx, c.nodes)
}

// javaArgs are the arguments with which Java runs a program of Apache Kafka.
func (c *Cluster) javaArgs(class string, args ...string) []string {
	return append([]string{
		// Three brokers are to fit on a small machine, and to start soon: that takes half the
		// time without the optimizing compiler.
		"-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-XX:-UsePerfData", "-Djava.io.tmpdir=" + c.home.Path(""), // Nothing is left elsewhere.
		"-Dlog4j2.configurationFile=" + c.home.Path("log4j2.properties"),
		"-cp", filepath.Join(c.jars, "*"), class,
	}, args...)
}

// launch starts brokers and waits until all are ready.
func (c *Cluster) launch(ctx context.Context, nodes []*node) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, node := range nodes {
		group.Go(func() error {
			ready := func(ctx context.Context) error { return c.isReady(ctx, node) }
			process, err := c.home.Start(ctx, ready, node.name(), c.java,
				c.javaArgs("kafka.Kafka", c.home.Path(node.name()+".properties"))...)
			node.process = process

			return err
		})
	}

	return group.Wait()
}

// Addrs are the addresses of the brokers, host:port.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, node := range c.nodes {
		addrs = append(addrs, node.addr())
	}

	return addrs
}

// SecureAddrs are those with TLS and SCRAM, if there is a Config.KeyStore.
func (c *Cluster) SecureAddrs() []string {
	var addrs []string
	for _, node := range c.nodes {
		addrs = append(addrs, node.secureAddr())
	}

	return addrs
}

// Stop stops the cluster and removes its data. It cannot be used again.
func (c *Cluster) Stop() error {
	c.Kill()
	if err := c.home.Close(); err != nil {
		return fmt.Errorf("apachekafka: %w", err)
	}

	return nil
}

// Kill ends brokers by SIGKILL: all of them if no ids are given.
func (c *Cluster) Kill(ids ...int) { c.end(syscall.SIGKILL, ids) }

// Shutdown stops brokers in good order: all of them if no ids are given.
func (c *Cluster) Shutdown(ids ...int) { c.end(syscall.SIGTERM, ids) }

func (c *Cluster) end(signal syscall.Signal, ids []int) {
	var group errgroup.Group
	for _, node := range c.nodes {
		if node.process != nil && isOneOf(ids, node) {
			group.Go(func() error {
				node.process.Stop(signal)
				node.process = nil

				return nil
			})
		}
	}
	_ = group.Wait() // There are no errors.
}

// Recover starts brokers again that do not run, on the same data and ports: all of them if no
// ids are given.
func (c *Cluster) Recover(ctx context.Context, ids ...int) error {
	var stopped []*node
	for _, node := range c.nodes {
		if node.process == nil && isOneOf(ids, node) {
			stopped = append(stopped, node)
		}
	}
	if err := c.launch(ctx, stopped); err != nil {
		return fmt.Errorf("apachekafka: %w", err)
	}

	return nil
}

// Restart is Shutdown and Recover.
func (c *Cluster) Restart(ctx context.Context, ids ...int) error {
	c.Shutdown(ids...)

	return c.Recover(ctx, ids...)
}

func isOneOf(ids []int, node *node) bool { return len(ids) == 0 || slices.Contains(ids, node.id) }

func (c *Cluster) node(id int) *node { return c.nodes[id-1] }
