package main

import (
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/await"
	"github.com/nova-events/idempotent-consumer/internal/logbuffer"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// TestMain is a worker where the environment says so, as main is.
func TestMain(m *testing.M) {
	if os.Getenv(envWorker) != "" {
		os.Exit(work(os.Stdin))
	}
	pgtest.Main(m)
}

// Neither what a worker writes to stderr nor its history, which are kept and shown, holds the password of its database: not
// while it gets in, nor whatever keeps it out.
func TestWorkersTellNoPassword(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDB(t)
	service, err := url.Parse(db.Service)
	if err != nil {
		t.Fatal(err)
	}
	right, _ := service.User.Password()
	with := func(password, host string) string {
		changed := *service
		changed.User, changed.Host = url.UserPassword(service.User.Username(), password), host

		return changed.String()
	}
	for name, c := range map[string]struct{ dsn, told string }{
		"all is well":          {db.Service, "127.0.0.1:1"}, // Of Kafka.
		"wrong password":       {with("zebra", service.Host), "password authentication failed"},
		"nobody listens":       {with("zebra", "127.0.0.1:1"), "connection refused"},
		"port is no number":    {strings.Replace(with("zebra", "127.0.0.1:1"), ":1/", ":port/", 1), "worker:"},
		"parameter is unknown": {with("zebra", service.Host) + "&pool_max_conns=x", "worker:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := newPlan(settings{seed: 1, duration: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			for _, adapter := range []string{kafkaGo, franzEager} {
				j := job{character: p.character(1, eager), promise: p.promise, Name: "worker-1", DSN: c.dsn, Brokers: []string{"127.0.0.1:1"}, Folder: t.TempDir()}
				j.Adapter = adapter
				told := toldBy(t, j, c.told)
				for _, password := range []string{"zebra", right} {
					if strings.Contains(told, password) {
						t.Errorf("%s: the password is told: %s", adapter, told)
					}
				}
			}
		})
	}
}

// toldBy runs a worker until it says what is awaited, and returns all that it has written.
func toldBy(t *testing.T, j job, awaited string) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var stderr logbuffer.Buffer
	command := exec.CommandContext(t.Context(), program)
	command.Env = append(os.Environ(), envWorker+"=1")
	command.Stdout, command.Stderr = &stderr, &stderr
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(input).Encode(j); err != nil {
		t.Fatal(err)
	}
	await.Until(t, awaited+" to be told", func() bool { return strings.Contains(stderr.String(), awaited) })
	if err := input.Close(); err != nil { // It ends then.
		t.Fatal(err)
	}
	_ = command.Wait() // Its status does not matter.
	history, err := os.ReadFile(filepath.Join(j.Folder, j.Name+".history"))
	if err != nil {
		t.Fatal(err)
	}
	if len(history) == 0 {
		t.Error("there is no history")
	}

	return stderr.String() + string(history)
}
