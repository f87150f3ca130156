package foreign

import (
	"context"
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/internal/apachekafka"
)

// The assignors of the Java client. Its default list is both, in this order.
const (
	JavaRange             = "org.apache.kafka.clients.consumer.RangeAssignor"
	JavaCooperativeSticky = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"
)

//go:embed Member.java
var member []byte

// Java returns a client with those assignors, or with the default ones. It ends with the test.
func Java(t testing.TB, assignors ...string) Client {
	t.Helper()
	source := filepath.Join(t.TempDir(), "Member.java")
	if err := os.WriteFile(source, member, 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := apachekafka.CompileClient(t.Context(), source)
	skipWithout(t, err, apachekafka.ErrNoJava, apachekafka.ErrNoJavac, apachekafka.ErrNoMaven)

	return func(t testing.TB, config Config) Member {
		t.Helper()

		return startProcess(t, config, strings.Join(assignors, ","), func(ctx context.Context, args ...string) *exec.Cmd {
			return client.Command(ctx, "Member", args...)
		})
	}
}
