// Package examples_test does with the examples what their readers do: it copies them into an empty
// module elsewhere, builds them there, and runs each as README.md says.
package examples_test

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

const module = "github.com/nova-events/idempotent-consumer"

// patience has room for a busy machine. Nothing takes a tenth of it on a quiet one.
const patience = 2 * time.Minute

func TestMain(m *testing.M) { pgtest.Main(m) }

// checks run the examples and look at what they did.
var checks = map[string]func(t *testing.T, e example){
	"batch-handler":    checkBatchHandler,
	"claim-tx":         checkClaimTx,
	"cleanup-job":      checkCleanupJob,
	"from-map":         checkFromMap,
	"http-call":        checkHTTPCall,
	"http-server":      checkHTTPServer,
	"kafka-consumer":   checkKafkaConsumer,
	"migrate-at-start": checkMigrateAtStart,
	"outbox":           checkOutbox,
	"produce-orders":   checkProduceOrders,
	"queue-handler":    checkQueueHandler,
	"sqlc":             checkSqlc,
	"telemetry":        checkTelemetry,
	"ten-consumers":    checkTenConsumers,
	"testing":          checkTesting,
	"tls-scram":        checkTLSScram,
}

func TestExamples(t *testing.T) {
	t.Parallel()
	kafka := startKafka(t) // While the examples are built.
	commands := commands(t)
	documented, checked := slices.Sorted(maps.Keys(commands)), slices.Sorted(maps.Keys(checks))
	if there := folders(t); !slices.Equal(documented, there) || !slices.Equal(checked, there) {
		t.Fatalf("README.md has the examples %q, this test checks %q, there are %q", documented, checked, there)
	}
	folder := buildElsewhere(t)
	orders := sync.OnceValues(func() (string, error) {
		return produceOrders(t.Context(), kafka, example{folder: folder, name: "produce-orders"})
	})
	for name, check := range checks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := example{folder: folder, name: name, words: commands[name], orders: orders}
			if e.words[0] == "run" {
				e.explainsItself(t)
			}
			check(t, e)
		})
	}
}

// folders are those of the examples.
func folders(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if name := entry.Name(); entry.IsDir() && name != "demo" && name != "internal" { // They are not for copying.
			names = append(names, name)
		}
	}

	return names
}

// buildElsewhere copies the examples into an empty module, where nothing internal of the repository can be
// imported, and returns its folder. The programs are in bin.
func buildElsewhere(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	goCommand(t, folder, "mod", "init", "example.com/service")
	for name := range checks {
		if err := os.CopyFS(filepath.Join(folder, name), os.DirFS(name)); err != nil {
			t.Fatal(err)
		}
	}
	// It is the only one with a package of its own, and says so.
	replaceIn(t, filepath.Join(folder, "sqlc", "main.go"), module+"/examples/sqlc/db", "example.com/service/sqlc/db")

	// Required first, they decide on the versions of all else, as after "go get".
	goCommand(t, folder, "mod", "edit",
		"-require="+module+"@v0.0.0", "-replace="+module+"="+root,
		"-require="+module+"/franzadapter@v0.0.0", "-replace="+module+"/franzadapter="+filepath.Join(root, "franzadapter"),
		"-require="+module+"/idemotel@v0.0.0", "-replace="+module+"/idemotel="+filepath.Join(root, "idemotel"))
	goCommand(t, folder, "mod", "tidy")
	goCommand(t, folder, "vet", "./...")
	goCommand(t, folder, "build", "-o", "bin/", "./...")

	return folder
}

// row is one of README.md's table: the folder and its command.
var row = regexp.MustCompile("(?m)^\\| \\[([\\w-]+)\\]\\(([\\w-]+)/\\w+\\.go\\) \\|.*\\| `go ([^`]+)` \\|$")

// commands returns the commands of README.md's table, behind "go", by example.
func commands(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, match := range row.FindAllStringSubmatch(readme(t), -1) {
		words := strings.Fields(match[3])
		if match[1] != match[2] || words[1] != "./"+match[1] {
			t.Errorf("the row of README.md does not belong together: %s", match[0])
		}
		found[match[1]] = words
	}

	return found
}

// indented are the lines of README.md that are commands of a shell.
var indented = regexp.MustCompile(`(?m)^    (go run \.\./internal/withpg .*)$`)

// TestCommandsWithoutDocker runs what README.md says for machines without Docker.
func TestCommandsWithoutDocker(t *testing.T) {
	t.Parallel()
	lines := indented.FindAllStringSubmatch(readme(t), -1)
	if len(lines) != 2 {
		t.Fatalf("README.md has %d such commands, want 2", len(lines))
	}
	for _, line := range lines {
		cmd := exec.CommandContext(t.Context(), "bash", "-c", line[1])
		cmd.Env = append(os.Environ(), "IDEM_TEST_DATABASE_URL="+pgtest.NewEmptyDB(t).DSN)
		cmd.Stdin = strings.NewReader("set -e\ngo run ./produce-orders\ngo run ./claim-tx\n") // For the one that starts a shell.
		if output, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(output), "deposit-2 processed") {
			t.Errorf("%s: %v\n%s", line[1], err, output)
		}
	}
}

// example is a copy of an example as its user runs it.
type example struct {
	folder string                             // of the module
	name   string                             // of the example's own folder
	words  []string                           // of the command, behind "go"
	orders func() (brokers string, err error) // an Apache Kafka that has them
}

// run runs the example to its end and returns what it printed.
func (e example) run(t *testing.T, environment ...string) string {
	t.Helper()
	output, err := e.command(t.Context(), environment...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}

	return string(output)
}

// until runs the example until something is true, and then asks it to stop.
func (e example) until(t *testing.T, what string, isTrue func() bool, environment ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var output strings.Builder
	cmd := e.command(ctx, environment...)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !isTrue() {
		select {
		case <-poll.C:
		case err := <-ended:
			t.Fatalf("it ended before %s: %v\n%s", what, err, &output)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("asked to stop it ended with: %v\n%s", err, &output)
	}
}

// command is the example without any of the variables that it may read, but those that are given.
func (e example) command(ctx context.Context, environment ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(e.folder, "bin", e.name), e.args()...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "DATABASE_URL=") || strings.HasPrefix(variable, "KAFKA_") || strings.HasPrefix(variable, "PG")
	})
	cmd.Env = append(cmd.Env, environment...)

	return cmd
}

// args are those of the program in "go run PACKAGE ARGUMENT...".
func (e example) args() []string { return e.words[min(2, len(e.words)):] }

// explainsItself checks what an example says that does not know its servers.
func (e example) explainsItself(t *testing.T) {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(e.name, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	output, err := e.command(t.Context()).CombinedOutput()
	if err == nil {
		t.Errorf("without its variables it ended well: %s", output)
	}
	for _, variable := range regexp.MustCompile(`Getenv\("(\w+)"\)`).FindAllStringSubmatch(string(source), -1) {
		if !strings.Contains(string(output), variable[1]) {
			t.Errorf("the message does not name %s:\n%s", variable[1], output)
		}
	}
	if !strings.Contains(string(output), composeCommand) || !strings.Contains(string(output), "compose.yaml") {
		t.Errorf("the message does not say how to get servers:\n%s", output)
	}
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}

	return string(text)
}

func goCommand(t *testing.T, folder string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, output)
	}
}

func replaceIn(t *testing.T, path, from, to string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), from, to)), 0o600); err != nil {
		t.Fatal(err)
	}
}
