package pgserver_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/internal/await"
	"github.com/nova-events/idempotent-consumer/internal/pgserver"
)

// envAbandon makes this test binary start a server and wait to be killed.
const envAbandon = "IDEM_TEST_ABANDON_SERVER"

func startAndWaitToBeKilled() {
	server, err := pgserver.Start(context.Background(), pgserver.Config{})
	if err != nil {
		panic(err)
	}
	fmt.Println(server.DSN("postgres")) //nolint:forbidigo // It is what the parent waits for.
	select {}
}

func TestServerDiesWithItsKilledParent(t *testing.T) {
	t.Parallel()
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
	dsn := strings.TrimSpace(line)
	folder := filepath.Dir(query(t, dsn, "SHOW data_directory"))

	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // "signal: killed"

	address, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the server to stop listening", func() bool {
		var dialer net.Dialer
		conn, err := dialer.DialContext(t.Context(), "tcp", address.Host)
		if err != nil {
			return true
		}

		return conn.Close() != nil
	})
	await.Until(t, "the folder to go away", func() bool {
		_, err := os.Stat(folder)

		return os.IsNotExist(err)
	})
}
