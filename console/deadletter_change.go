package console

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/ops"
)

const (
	// maxChanged is how many dead letters one change takes at most, the oldest first.
	maxChanged = 10_000

	// changeTimeout is how long a change may take. It goes on when its viewer leaves.
	changeTimeout = 40 * time.Second

	maxReason = 500
)

// deadLetterChange is what can be done to dead letters.
type deadLetterChange struct {
	Name string // a verb
	from func() []idem.DeadLetterState
	plan func(*ops.Client, context.Context, ops.DeadLetterChoice) (ops.DeadLetterPlan, error)
	make func(*ops.Client, context.Context, ops.DeadLetterPlan, ops.Progress) (ops.DeadLetterResult, error)
}

var (
	replay  = deadLetterChange{"replay", ops.ReplayableStates, (*ops.Client).PlanReplay, (*ops.Client).ReplayDeadLetters}
	discard = deadLetterChange{"discard", ops.UnresolvedStates, (*ops.Client).PlanDiscard, (*ops.Client).DiscardDeadLetters}
)

// changePlan is the dead letters that a change would be made to.
type changePlan struct {
	ops.DeadLetterPlan

	Change deadLetterChange
	ID     string // of the only one that is meant, else the filter is
	Filter filter
	Reason string
	// Changed is set where a plan was confirmed and would do something else by now. Nothing was changed.
	Changed bool
}

// Back is where the plan comes from.
func (p changePlan) Back() string {
	if p.ID != "" {
		return "deadletter?" + url.Values{"id": {p.ID}}.Encode()
	}

	return p.Filter.Address()
}

// Mark stands for what exactly would be changed: with another one somebody has changed some of it, or it has failed anew.
func (p changePlan) Mark() string {
	hash := sha256.New()
	for _, letter := range p.DeadLetters {
		failed := int64(0)
		if letter.FailedAt != nil {
			failed = letter.FailedAt.UnixMicro()
		}
		_, _ = fmt.Fprintln(hash, letter.ID, letter.State, failed) // It never fails.
	}

	return hex.EncodeToString(hash.Sum(nil))
}

// Fields choose the same again: what fails after the last of them is not of the plan.
func (p changePlan) Fields() map[string]string {
	if p.ID != "" {
		return map[string]string{"id": p.ID}
	}
	var last time.Time
	for _, letter := range p.DeadLetters {
		if letter.FailedAt != nil && letter.FailedAt.After(last) {
			last = *letter.FailedAt
		}
	}
	f := p.Filter
	f.Until = last.Add(time.Microsecond).Format(timeLayout)

	return f.Fields()
}

// Full reports whether there may be more of them.
func (p changePlan) Full() bool { return len(p.DeadLetters) == maxChanged }

// Shown are some of them.
func (p changePlan) Shown() []ops.DeadLetter { return p.DeadLetters[:min(len(p.DeadLetters), 20)] }

// ByConsumer counts them.
func (p changePlan) ByConsumer() []ops.DeadLetterCount {
	counts := map[string]int64{}
	for _, letter := range p.DeadLetters {
		counts[letter.Consumer]++
	}
	var list []ops.DeadLetterCount
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, ops.DeadLetterCount{Consumer: name, Unresolved: counts[name]})
	}

	return list
}

// newPlan looks up what a form chooses.
func (c *console) newPlan(ctx context.Context, change deadLetterChange, form url.Values) (changePlan, error) {
	p := changePlan{Change: change, ID: form.Get("id"), Filter: newFilter(form), Reason: form.Get("reason")}
	if len(p.Reason) > maxReason {
		return p, badForm("the reason is longer than %d bytes", maxReason)
	}
	var choice ops.DeadLetterChoice
	if p.ID != "" {
		choice.IDs = []string{p.ID}
	} else {
		var err error
		if choice.Filter, err = p.Filter.choice(change.from()); err != nil {
			return p, err
		}
		choice.Filter.Limit = maxChanged
	}
	plan, err := change.plan(c.Client, ctx, choice)
	p.DeadLetterPlan = plan
	if err != nil {
		return p, err
	}

	return p, plan.Err()
}

// planDeadLetters shows what a change would do.
func (c *console) planDeadLetters(change deadLetterChange) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		plan, err := c.newPlan(r.Context(), change, r.Form)
		if err != nil {
			return err
		}

		return c.show(w, r, "plan", plan)
	}
}

type changedData struct {
	Plan   changePlan
	Result ops.DeadLetterResult
}

// changeDeadLetters makes the change that was confirmed, or none.
func (c *console) changeDeadLetters(change deadLetterChange) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), changeTimeout)
		defer cancel()
		plan, err := c.newPlan(ctx, change, r.PostForm)
		if err != nil {
			return err
		}
		if plan.Mark() != r.PostForm.Get("mark") {
			plan.Changed = true
			c.render(w, r, http.StatusConflict, "plan", plan)

			return nil
		}
		d := changedData{Plan: plan}
		what := []any{"dead_letters", len(plan.DeadLetters), "id", plan.ID, "filter", plan.Filter.Address(), "reason", plan.Reason}
		err = c.logged(r, change.Name+" dead letters", what, func() (result []any, err error) {
			d.Result, err = change.make(c.Client, ctx, plan.DeadLetterPlan, nil)

			return []any{"changed", d.Result.Changed, "complete", d.Result.Complete}, err
		})
		if err != nil {
			return err
		}

		return c.show(w, r, "changed", d)
	}
}
