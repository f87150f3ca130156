package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/console"
	"github.com/nova-events/idempotent-consumer/internal/kafkafacts"
	"github.com/nova-events/idempotent-consumer/ops"
)

// brokersPatience is how long the console waits for the brokers before it serves.
const brokersPatience = 5 * time.Second

// consoleFlags are those of the command.
type consoleFlags struct {
	listen    string
	tokenFile string
	write     bool
	payloads  bool
	brokers   string
}

func newConsole(a *app) *cobra.Command {
	var flags consoleFlags
	command := &cobra.Command{
		Use:   "console",
		Short: "Serve a web page that shows what consumers do, and what to do about dead letters",
		Long: `Serves a web page until it is interrupted: rates, partitions, consumers, dead letters, the checks of
"doctor". It reads only, and listens on this machine only, unless the flags below say otherwise.

With --token-file the page asks for what is in that file, at least 16 bytes. --write and addresses
that other machines reach need it. The page is not encrypted: put a proxy with TLS before it, or a
tunnel (ssh -L). Each change is logged to stderr.

With --brokers ($IDEM_BROKERS) it shows how many records are behind the checkpoints:

  ` + kafkafacts.Form,
		Example: `  idemctl console
  head -c 24 /dev/urandom | base64 >token && idemctl console --token-file token --write
  ssh -L 8080:127.0.0.1:8080 db.example.com idemctl console`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return a.serveConsole(command, flags) },
	}
	f := command.Flags()
	f.SortFlags = false
	f.StringVar(&flags.listen, "listen", "127.0.0.1:8080", "`ADDRESS` to listen on; with port 0 any that is free")
	f.StringVar(&flags.tokenFile, "token-file", "", "`FILE` with the token that the page asks for")
	f.BoolVar(&flags.write, "write", false, "let those who have the token change things")
	f.BoolVar(&flags.payloads, "payloads", false, "show keys, header values and values of dead letters")
	brokersFlag(command, &flags.brokers, "`BROKERS` of the cluster of the groups")

	return command
}

func (a *app) serveConsole(command *cobra.Command, flags consoleFlags) error {
	config, err := a.consoleConfig(command, flags)
	if err != nil {
		return err
	}

	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		config.Client = c
		warnOfBrokers(ctx, config)
		handler, err := console.Handler(config)
		if err != nil {
			return err
		}
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", flags.listen)
		if err != nil {
			return fmt.Errorf("listen on %s: %w", flags.listen, err)
		}
		if err := a.print(map[string]string{"url": consoleURL(listener)}, "The console is at "+consoleURL(listener)+"\n"); err != nil {
			return errors.Join(err, listener.Close())
		}

		return serve(ctx, listener, handler)
	})
}

// consoleConfig is what the flags say, but for the client.
func (a *app) consoleConfig(command *cobra.Command, flags consoleFlags) (console.Config, error) {
	config := console.Config{
		Authorize: console.Everybody(console.User{Change: flags.write, Payloads: flags.payloads}),
		Logger:    slog.New(slog.NewTextHandler(a.Stderr, nil)),
	}
	if _, _, err := net.SplitHostPort(flags.listen); err != nil {
		return config, fail(exitUsage, "--listen %s: give an address with a port, 127.0.0.1:8080 for instance", flags.listen)
	}
	if flags.tokenFile != "" {
		token, err := os.ReadFile(flags.tokenFile)
		if err != nil {
			return config, fail(exitUsage, "--token-file: %w", err)
		}
		if config.Token = strings.TrimSpace(string(token)); len(config.Token) < console.LeastToken {
			return config, fail(exitUsage, "--token-file: the token has less than %d bytes", console.LeastToken)
		}
	}
	if config.Token == "" && flags.write {
		return config, fail(exitUsage, "--write needs --token-file: else every program on this machine could change things")
	}
	if config.Token == "" && !onlyLocal(flags.listen) {
		return config, fail(exitUsage, "--listen %s can be reached by other machines: that needs --token-file", flags.listen)
	}
	target, given, err := a.chooseBrokers(command, flags.brokers)
	if given {
		config.Kafka = target.Facts
	}

	return config, err
}

// warnOfBrokers logs that the brokers do not answer. The console serves without them, and asks again.
func warnOfBrokers(ctx context.Context, config console.Config) {
	if config.Kafka == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, brokersPatience)
	defer cancel()
	if _, err := config.Kafka(ctx, nil, nil); err != nil {
		config.Logger.WarnContext(ctx, "console: the brokers do not answer, lag is not known", "error", err)
	}
}

// onlyLocal reports whether an address can be reached from this machine alone.
func onlyLocal(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)

	return host == "localhost" || err == nil && ip.IsLoopback()
}

// consoleURL is where a browser on this machine finds the console.
func consoleURL(listener net.Listener) string {
	address, ok := listener.Addr().(*net.TCPAddr)
	if ok && address.IP.IsUnspecified() {
		return fmt.Sprintf("http://localhost:%d/", address.Port)
	}

	return "http://" + listener.Addr().String() + "/"
}

// serve serves until ctx ends.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute,
		MaxHeaderBytes: 32 << 10,
		BaseContext:    func(net.Listener) context.Context { return ctx }, // Streams end with it.
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()

	return wrap("stop serving", server.Shutdown(ctx)) // A change that has begun is waited for.
}
