package console

import (
	"context"
	"net/http"
	"net/url"

	"github.com/nova-events/idempotent-consumer/ops"
)

// maxDecided is how many records of the outbox one change takes at most, the first ones. The form that confirms it names each.
const maxDecided = 500

// outboxChange is what can be done to failed records of the outbox.
type outboxChange struct {
	Name string // a verb
	make func(*ops.Client, context.Context, []ops.OutboxRecord) (ops.OutboxResult, error)
}

var (
	retryRecords   = outboxChange{"retry", (*ops.Client).RetryOutbox}
	discardRecords = outboxChange{"discard", (*ops.Client).DiscardOutbox}
)

// outboxPlan is the records that a change would be made to: one, or the failed ones of a topic, or of all.
type outboxPlan struct {
	Change outboxChange
	ID     string // of the only one that is meant
	Topic  string
	List   []ops.OutboxRecord
	More   bool
}

// Back is where the plan comes from.
func (p outboxPlan) Back() string {
	if p.ID != "" {
		return "outboxrecord?" + url.Values{"id": {p.ID}}.Encode()
	}

	return "outbox?" + url.Values{"topic": {p.Topic}}.Encode()
}

// Shown are some of them.
func (p outboxPlan) Shown() []ops.OutboxRecord { return p.List[:min(len(p.List), 20)] }

// planOutbox shows what a change would do.
func (c *console) planOutbox(change outboxChange) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		p := outboxPlan{Change: change, ID: r.Form.Get("id"), Topic: r.Form.Get("topic")}
		chosen := ops.OutboxFilter{Topic: p.Topic, States: []ops.OutboxState{ops.OutboxFailed}, Limit: maxDecided + 1}
		if p.ID != "" {
			var err error
			if chosen.IDs, err = recordIDs(r.Form); err != nil {
				return err
			}
		}
		list, err := c.Client.OutboxRecords(r.Context(), chosen)
		if err != nil {
			return err
		}
		p.List, p.More = atMost(list, maxDecided)

		return c.show(w, r, "outboxplan", p)
	}
}

type outboxChangedData struct {
	Change outboxChange
	Topic  string
	Result ops.OutboxResult
}

// changeOutbox makes a change to the records that the form names, which are those that were shown: others that have failed since
// are none of them, and about some somebody else may have decided.
func (c *console) changeOutbox(change outboxChange) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), changeTimeout)
		defer cancel()
		ids, err := recordIDs(r.PostForm)
		if err != nil {
			return err
		}
		reason := r.PostForm.Get("reason")
		if len(reason) > maxReason {
			return badForm("the reason is longer than %d bytes", maxReason)
		}
		records := make([]ops.OutboxRecord, len(ids))
		for i, id := range ids {
			records[i].ID = id
		}
		d := outboxChangedData{Change: change, Topic: r.PostForm.Get("topic")}
		err = c.logged(r, change.Name+" records of the outbox", []any{"ids", ids, "reason", reason}, func() (result []any, err error) {
			d.Result, err = change.make(c.Client, ctx, records)

			return []any{"changed", len(d.Result.Changed), "unchanged", d.Result.Unchanged}, err
		})
		if err != nil {
			return err
		}

		return c.show(w, r, "outboxchanged", d)
	}
}
