package idemhttp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idemhttp"
	"github.com/nova-events/idempotent-consumer/lease"
)

// serverLease is how long a server of the test keeps a request that it does not hear of: on a machine that is too busy, a live one, too.
const serverLease = 500 * time.Millisecond

// envServer makes this test binary a server: a process that takes payments, and can be killed.
const envServer = "IDEM_TEST_HTTP_SERVER"

// job is all that a server needs to know. It comes through its input.
type job struct {
	DSN      string `json:"dsn"`
	Provider string `json:"provider"` // the address of the test's HTTP server
	Name     string `json:"name"`
}

// paths have a policy each.
const (
	pathRerun  = "/rerun"
	pathDecide = "/decide"
)

// serve takes payments until its input ends, and returns the exit status. It prints its address.
func serve(input io.Reader, output io.Writer) int {
	if err := takePayments(input, output); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)

		return 1
	}

	return 0
}

func takePayments(input io.Reader, output io.Writer) error {
	var j job
	decoder := json.NewDecoder(input)
	if err := decoder.Decode(&j); err != nil {
		return err
	}
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, j.DSN)
	if err != nil {
		return err
	}
	defer pool.Close()
	silence := slog.New(slog.DiscardHandler)
	guard, err := idem.New(pool, idem.Config{Consumer: "payments", Logger: silence})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	for path, policy := range map[string]lease.Policy{pathRerun: lease.Rerun(), pathDecide: lease.NeedsDecision()} {
		leases, err := lease.New(guard, lease.Config{Duration: serverLease, Backoff: lease.NoBackoff, Unknown: policy, Logger: silence})
		if err != nil {
			return err
		}
		once, err := idemhttp.New(leases, idemhttp.Config{Scope: byAuthorization, Logger: silence})
		if err != nil {
			return err
		}
		mux.Handle(path, once(http.HandlerFunc(j.pay)))
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() {
		_, _ = io.Copy(io.Discard, io.MultiReader(decoder.Buffered(), input))
		_ = server.Close()
	}()
	if _, err := fmt.Fprintln(output, listener.Addr()); err != nil {
		return err
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}

	return nil
}

// pay charges, and tells the test before and afterwards.
func (j job) pay(w http.ResponseWriter, r *http.Request) {
	attempt, _ := idemhttp.AttemptFrom(r.Context())
	for _, path := range []string{"/before", "/charge", "/after"} {
		request, err := http.NewRequestWithContext(r.Context(), http.MethodPost, j.Provider+path, strings.NewReader(attempt.Key("charge")))
		if err == nil {
			request.Header.Set("Server", j.Name)
			var response *http.Response
			if response, err = http.DefaultClient.Do(request); err == nil {
				_ = response.Body.Close()
			}
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)

			return
		}
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprint(w, "charged ", r.Header.Get("Idempotency-Key")) //nolint:gosec // The test looks at it.
}

// process is a server as its test sees it. It is started again when it was killed.
type process struct {
	job job

	mu      sync.Mutex
	command *exec.Cmd
	input   io.WriteCloser
	address string
}

func (p *process) start(t *testing.T) {
	t.Helper()
	command := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0]) //nolint:gosec // It is this program.
	command.Env = append(os.Environ(), envServer+"=1")
	command.Stderr = os.Stderr
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(input).Encode(p.job); err != nil {
		t.Fatal(err)
	}
	address, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.command, p.input, p.address = command, input, strings.TrimSpace(address)
}

// kill kills it by SIGKILL, whatever it is doing.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.command.Process.Kill()
}

// restart starts it again if it was killed.
func (p *process) restart(t *testing.T, killed bool) {
	t.Helper()
	if killed {
		_ = p.command.Wait()
		p.start(t)
	}
}

// stop has it end in order.
func (p *process) stop(t *testing.T) {
	t.Helper()
	_ = p.input.Close()
	if err := p.command.Wait(); err != nil {
		t.Errorf("a server did not end in order: %v", err)
	}
}
