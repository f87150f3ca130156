package lease_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/lease"
)

// envWorker makes this test binary a worker: a process that pays for events, and can be killed.
const envWorker = "IDEM_TEST_LEASE_WORKER"

// job is all that a worker needs to know. It comes through its input.
type job struct {
	DSN    string `json:"dsn"`
	City   string `json:"city"` // the address of the test's HTTP server
	Name   string `json:"name"`
	Policy string `json:"policy"`
	Events int    `json:"events"`
}

// workDuration is how long the leases of workers last.
const workDuration = 500 * time.Millisecond

// work pays for all events and returns the exit status. It ends early if its input does, with its test.
func work(input io.Reader) int {
	if err := payForAll(input); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)

		return 1
	}

	return 0
}

func payForAll(input io.Reader) error {
	var j job
	decoder := json.NewDecoder(input)
	if err := decoder.Decode(&j); err != nil {
		return err
	}
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	go func() {
		_, _ = io.Copy(io.Discard, io.MultiReader(decoder.Buffered(), input))
		leave()
	}()
	pool, err := pgxpool.New(ctx, j.DSN)
	if err != nil {
		return err
	}
	defer pool.Close()
	guard, err := idem.New(pool, idem.Config{Consumer: "payments", Logger: quiet})
	if err != nil {
		return err
	}
	policy := map[string]lease.Policy{policyRerun: lease.Rerun(), policyDecide: lease.NeedsDecision(), policyAsk: lease.Ask(j.ask)}[j.Policy]
	leases, err := lease.New(guard, lease.Config{Duration: workDuration, Backoff: lease.NoBackoff, Unknown: policy, Logger: quiet})
	if err != nil {
		return err
	}
	left := rand.Perm(j.Events)
	working, done := context.WithCancel(ctx)
	defer done()
	every(working, 10*time.Millisecond, func() {
		var again []int
		for _, n := range left {
			if !j.process(ctx, leases, fmt.Sprint("event-", n)) {
				again = append(again, n)
			}
		}
		if left = again; len(left) == 0 {
			done()
		}
	})

	return ctx.Err()
}

// process reports whether the event is completed.
func (j job) process(ctx context.Context, leases *lease.Leases, id string) bool {
	_ = j.tell(ctx, atBegin, id)
	_, err := leases.Do(ctx, id, func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
		if err := j.tell(ctx, atBefore, id); err != nil {
			return lease.Result{}, err
		}
		receipt, err := a.Step(ctx, "charge", func(ctx context.Context) (lease.Result, error) {
			receipt, err := j.call(ctx, "pay", url.Values{"event": {id}, "key": {a.Key("charge")}, "attempt": {strconv.Itoa(a.Number)}})

			return text(receipt), lease.Unknown(err)
		})
		if err != nil {
			return lease.Result{}, err
		}
		if err := j.tell(ctx, atAfter, id); err != nil {
			return lease.Result{}, lease.Unknown(err)
		}
		a.InTx(order(id))

		return receipt, nil
	})
	_ = j.tell(ctx, atReturned, id)

	return err == nil
}

// ask asks the provider whether it has been paid.
func (j job) ask(ctx context.Context, a *lease.Attempt) (lease.Answer, error) {
	receipt, err := j.call(ctx, "charges", url.Values{"event": {a.EventID}})
	switch {
	case err != nil:
		return lease.Answer{}, err
	case receipt == "":
		return lease.NoEffect(), nil
	default:
		a.InTx(order(a.EventID))

		return lease.TookEffect(text(receipt)), nil
	}
}

// tell tells the test where the worker is.
func (j job) tell(ctx context.Context, at point, id string) error {
	_, err := j.call(ctx, "at", url.Values{"point": {strconv.Itoa(int(at))}, "event": {id}})

	return err
}

func (j job) call(ctx context.Context, path string, query url.Values) (string, error) {
	query.Set("worker", j.Name)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, j.City+"/"+path+"?"+query.Encode(), nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close() //nolint:errcheck // It is read.
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}

	return string(body), err
}
