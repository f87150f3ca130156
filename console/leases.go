package console

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nova-events/idempotent-consumer/ops"
)

// leasesData is the leases of a consumer in a state. Empty names stand for all.
type leasesData struct {
	Consumer, State string
	Consumers       []ops.Consumer
	States          []ops.LeaseState
	List            []ops.Lease
	More            bool
}

func (c *console) leases(w http.ResponseWriter, r *http.Request) error {
	d := leasesData{Consumer: r.Form.Get(consumerField), State: r.Form.Get("state"), States: ops.LeaseStates()}
	var err error
	if d.Consumers, err = c.Client.Consumers(r.Context()); err != nil {
		return err
	}
	chosen := ops.LeaseFilter{Consumer: d.Consumer, Limit: maxListed + 1}
	if d.State != "" {
		chosen.States = []ops.LeaseState{ops.LeaseState(d.State)}
	}
	list, err := c.Client.Leases(r.Context(), chosen)
	if err != nil {
		return err
	}
	d.List, d.More = atMost(list, maxListed)

	return c.show(w, r, "leases", d)
}

// maxSteps is how many steps of an event are shown.
const maxSteps = 100

type leaseData struct {
	ops.LeaseDetails

	ShownSteps []shownStep
	MoreSteps  bool
}

type shownStep struct {
	ops.LeaseStep

	Shown payload
}

// Decidable reports whether somebody may decide about it.
func (d leaseData) Decidable() bool { return d.State != ops.LeaseRunning }

// leaseOf looks up the lease that a form names.
func (c *console) leaseOf(ctx context.Context, form url.Values) (ops.LeaseDetails, error) {
	return c.Client.Lease(ctx, form.Get(consumerField), form.Get("id"))
}

func (c *console) lease(w http.ResponseWriter, r *http.Request) error {
	lease, err := c.leaseOf(r.Context(), r.Form)
	if err != nil {
		return err
	}
	d := leaseData{LeaseDetails: lease}
	var steps []ops.LeaseStep
	steps, d.MoreSteps = atMost(lease.Steps, maxSteps)
	for _, step := range steps {
		d.ShownSteps = append(d.ShownSteps, shownStep{step, newPayload(step.Body, userOf(r.Context()).Payloads)})
	}

	return c.show(w, r, "lease", d)
}

type decisionData struct {
	ops.LeaseDetails

	TookEffect bool
}

// Back is where it comes from.
func (d decisionData) Back() string { return ofLease("lease", d.Consumer, d.EventID) }

// planDecision asks whether an event is to be completed, or run again.
func (c *console) planDecision(tookEffect bool) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		lease, err := c.leaseOf(r.Context(), r.Form)
		if err != nil {
			return err
		}

		return c.show(w, r, "leasedecision", decisionData{lease, tookEffect})
	}
}

// completeLease completes an event with the result of the form, and shows its story.
func (c *console) completeLease(w http.ResponseWriter, r *http.Request) error {
	var result ops.LeaseResult
	if body := strings.ReplaceAll(r.PostForm.Get("result"), "\r\n", "\n"); body != "" { // Browsers write lines so.
		result = ops.LeaseResult{ContentType: r.PostForm.Get("type"), Body: []byte(body)}
	}

	return c.decide(w, r, "complete the event of a lease", "event", func(ctx context.Context, consumer, id string, request ops.DecisionRequest) error {
		_, err := c.Client.CompleteLease(ctx, consumer, id, result, request)

		return err
	})
}

// rerunLease has an event run again, and shows its lease.
func (c *console) rerunLease(w http.ResponseWriter, r *http.Request) error {
	return c.decide(w, r, "run the event of a lease again", "lease", func(ctx context.Context, consumer, id string, request ops.DecisionRequest) error {
		_, err := c.Client.RerunLease(ctx, consumer, id, request)

		return err
	})
}

// decide makes a decision about the lease of a form, and leads to a page.
func (c *console) decide(
	w http.ResponseWriter, r *http.Request, what, page string, do func(ctx context.Context, consumer, id string, request ops.DecisionRequest) error,
) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), changeTimeout)
	defer cancel()
	consumer, id := r.PostForm.Get(consumerField), r.PostForm.Get("id")
	until, err := strconv.ParseInt(r.PostForm.Get("until"), 10, 64)
	if err != nil {
		return badForm("the form does not say which attempt it is about")
	}
	request := ops.DecisionRequest{By: userOf(ctx).Name, Reason: r.PostForm.Get("reason"), Until: time.UnixMicro(until)}
	err = c.logged(r, what, []any{consumerField, consumer, "event_id", id, "reason", request.Reason}, func() ([]any, error) {
		return nil, do(ctx, consumer, id, request)
	})
	if err != nil {
		return err
	}
	seeOther(w, ofLease(page, consumer, id))

	return nil
}

// ofLease is the address of a page about the event of a lease.
func ofLease(page, consumer, id string) string {
	return page + "?" + url.Values{consumerField: {consumer}, "id": {id}}.Encode()
}
