// Withkafka runs a command with an in-process Kafka broker, whose address the command finds in
// KAFKA_BROKERS, and exits with the command's status. Topics that a client asks for are created.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
)

func main() {
	status, err := run(context.Background(), os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "withkafka:", err)
	}
	os.Exit(status)
}

// run returns the exit status.
func run(ctx context.Context, command []string) (int, error) {
	if len(command) == 0 {
		return 2, errors.New("usage: withkafka COMMAND [ARGUMENT...]")
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.AllowAutoTopicCreation())
	if err != nil {
		return 1, fmt.Errorf("start a broker: %w", err)
	}
	defer cluster.Close()

	// A terminal sends ^C to the command, too. The broker is there until the command ends.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "KAFKA_BROKERS="+strings.Join(cluster.ListenAddrs(), ","))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		return 1, err
	}

	return cmd.ProcessState.ExitCode(), nil
}
