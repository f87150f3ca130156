package apachekafka

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/internal/await"
)

// envAbandon makes this test binary start a cluster and wait to be killed.
const envAbandon = "IDEM_TEST_ABANDON_KAFKA"

func startAndWaitToBeKilled() {
	cluster, err := Start(context.Background(), Config{})
	if err != nil {
		panic(err)
	}
	fmt.Println(cluster.Addrs()[0], filepath.Dir(cluster.home.Path("any"))) //nolint:forbidigo // It is what the parent waits for.
	select {}
}

func TestClusterDiesWithItsKilledParent(t *testing.T) {
	t.Parallel()
	requirePrograms(t)
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = append(os.Environ(), envAbandon+"=1")
	parent.Stderr = os.Stderr
	stdout, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr, folder, _ := strings.Cut(strings.TrimSpace(line), " ")

	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // "signal: killed"
	await.Until(t, "the broker to stop listening", func() bool { return !isListening(t, addr) })
	await.Until(t, "the folder to go away", func() bool {
		_, err := os.Stat(folder)

		return os.IsNotExist(err)
	})
}
