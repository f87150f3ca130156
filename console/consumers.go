package console

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/nova-events/idempotent-consumer/ops"
)

type consumersData struct{ List []ops.Consumer }

func (c *console) consumers(w http.ResponseWriter, r *http.Request) error {
	all, err := c.Client.Consumers(r.Context())
	if err != nil {
		return err
	}

	return c.show(w, r, "consumers", consumersData{List: all})
}

type consumerData struct {
	ops.Consumer

	Partitions  int
	DeadLetters ops.DeadLetterCount
}

func (c *console) consumer(w http.ResponseWriter, r *http.Request) error {
	one, err := c.Client.Consumer(r.Context(), r.Form.Get("name"))
	if err != nil {
		return err
	}
	d := consumerData{Consumer: one}
	checkpoints, err := c.Client.Checkpoints(r.Context(), one.Name, "")
	if err != nil {
		return err
	}
	d.Partitions = len(checkpoints)
	counts, err := c.Client.DeadLetterCounts(r.Context())
	if err != nil {
		return err
	}
	for _, count := range counts {
		if count.Consumer == one.Name {
			d.DeadLetters = count
		}
	}

	return c.show(w, r, "consumer", d)
}

// retentionData is a change of the retention, with what the form said.
type retentionData struct {
	ops.RetentionPlan

	Amount, Unit string
}

// planRetention asks whether the retention is to be changed, and says what that does.
func (c *console) planRetention(w http.ResponseWriter, r *http.Request) error {
	retention, err := parseRetention(r.Form)
	if err != nil {
		return err
	}
	plan, err := c.Client.PlanRetention(r.Context(), r.Form.Get("name"), retention)
	if err != nil {
		return err
	}

	return c.show(w, r, "retention", retentionData{RetentionPlan: plan, Amount: r.Form.Get("amount"), Unit: r.Form.Get("unit")})
}

func (c *console) setRetention(w http.ResponseWriter, r *http.Request) error {
	retention, err := parseRetention(r.PostForm)
	if err != nil {
		return err
	}

	previous, err := strconv.ParseInt(r.PostForm.Get("previous"), 10, 64)
	if err != nil {
		return badForm("the form does not say which retention is to be changed")
	}

	return c.changeConsumer(w, r, "set the retention", []any{"retention", retention}, func(ctx context.Context, name string) error {
		return c.Client.SetRetention(ctx, ops.RetentionPlan{Consumer: name, Retention: ops.Seconds(retention), Previous: ops.Seconds(previous)})
	})
}

func (c *console) pause(w http.ResponseWriter, r *http.Request) error {
	reason := r.PostForm.Get("reason")

	return c.changeConsumer(w, r, "pause", []any{"reason", reason}, func(ctx context.Context, name string) error {
		_, err := c.Client.Pause(ctx, name, ops.PauseRequest{By: userOf(ctx).Name, Reason: reason})

		return err
	})
}

func (c *console) resume(w http.ResponseWriter, r *http.Request) error {
	return c.changeConsumer(w, r, "resume", nil, func(ctx context.Context, name string) error {
		_, err := c.Client.Resume(ctx, name)

		return err
	})
}

// changeConsumer makes a change to the consumer of a form, and shows it.
func (c *console) changeConsumer(w http.ResponseWriter, r *http.Request, what string, change []any, do func(ctx context.Context, name string) error) error {
	name := r.PostForm.Get("name")
	err := c.logged(r, what, append([]any{consumerField, name}, change...), func() ([]any, error) { return nil, do(r.Context(), name) })
	if err != nil {
		return err
	}
	seeOther(w, "consumer?"+url.Values{"name": {name}}.Encode())

	return nil
}

// units are those that a form offers.
var units = map[string]time.Duration{"hours": time.Hour, "days": 24 * time.Hour}

func parseRetention(form url.Values) (time.Duration, error) {
	unit, ok := units[form.Get("unit")]
	amount, err := strconv.ParseInt(form.Get("amount"), 10, 32)
	if !ok || err != nil || amount < 1 || amount > 100*366*24 {
		return 0, badForm("the retention is not a number of hours or days, up to a hundred years")
	}

	return time.Duration(amount) * unit, nil
}
