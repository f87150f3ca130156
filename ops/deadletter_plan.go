package ops

import (
	"context"
	"slices"
	"strings"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
)

// DeadLetterChoice chooses dead letters that are to be changed, in one of three ways.
type DeadLetterChoice struct {
	// IDs are ids, or their first digits, at least four, if no other dead letter's id begins with
	// them.
	IDs []string
	// Filter chooses by its fields.
	Filter DeadLetterFilter
	// All chooses all dead letters. Only Filter.Limit may be set with it.
	All bool
}

// Validate finds out what PlanReplay and PlanDiscard would refuse, without a connection. Errors wrap ErrInvalid.
func (c DeadLetterChoice) Validate() error {
	byFilter := c.All || !c.Filter.isEmpty()
	switch {
	case len(c.IDs) > 0 && (byFilter || c.Filter.Limit != 0):
		return invalid("give ids or filters, not both")
	case len(c.IDs) == 0 && !byFilter:
		return invalid("which dead letters? give ids, or filters, or say that all are meant")
	}
	if _, err := parseIDs(c.IDs); err != nil {
		return err
	}

	return c.Filter.Validate()
}

// DeadLetterPlan says which dead letters are to be changed. Take it from PlanReplay or PlanDiscard: a dead letter that is not in its
// State any more, or has failed at another time than FailedAt, is left alone.
type DeadLetterPlan struct {
	DeadLetters []DeadLetter `json:"dead_letters"`
	Unchanged   []DeadLetter `json:"unchanged"` // chosen by id, and left alone because of their states
	Unknown     []string     `json:"unknown"`   // beginnings of ids that no dead letter has

	// Released is how many parked dead letters the consumer processes when these are discarded.
	Released int64 `json:"-"`
}

// Err returns an error that wraps ErrUnknownDeadLetter if ids were given that no dead letter has.
func (p DeadLetterPlan) Err() error {
	if len(p.Unknown) == 0 {
		return nil
	}

	return refuse(ErrUnknownDeadLetter, "there is no dead letter %s", strings.Join(p.Unknown, ", "))
}

// PlanReplay returns the open dead letters that ReplayDeadLetters would have processed again, the oldest
// first. A filter is applied once: dead letters that are stored later are not included.
func (c *Client) PlanReplay(ctx context.Context, choice DeadLetterChoice) (DeadLetterPlan, error) {
	return c.plan(ctx, choice, ReplayableStates())
}

// PlanDiscard says which unresolved dead letters DiscardDeadLetters would give up, the oldest first, as
// PlanReplay does, and how many parked ones it releases.
func (c *Client) PlanDiscard(ctx context.Context, choice DeadLetterChoice) (DeadLetterPlan, error) {
	plan, err := c.plan(ctx, choice, UnresolvedStates())
	if err != nil {
		return plan, err
	}
	for _, of := range byConsumer(plan.DeadLetters) {
		consumer, err := c.consumer(ctx, of[0].Consumer)
		if err != nil {
			return plan, err
		}
		n, err := c.queries.DeadLetterCountReleased(ctx, c.conn, db.DeadLetterCountReleasedParams{ConsumerID: consumer.id, Ids: idsOf(of)})
		if err != nil {
			return plan, c.failed(ctx, "count the parked dead letters behind them", err)
		}
		plan.Released += n
	}

	return plan, nil
}

// plan looks up what is chosen among the dead letters in some states.
func (c *Client) plan(ctx context.Context, choice DeadLetterChoice, from []idem.DeadLetterState) (DeadLetterPlan, error) {
	plan := DeadLetterPlan{DeadLetters: []DeadLetter{}, Unchanged: []DeadLetter{}, Unknown: []string{}}
	if err := choice.Validate(); err != nil {
		return plan, err
	}
	if len(choice.IDs) == 0 {
		f := choice.Filter
		if f.States == nil {
			f.States = from
		}
		if i := slices.IndexFunc(f.States, func(s idem.DeadLetterState) bool { return !slices.Contains(from, s) }); i >= 0 {
			return plan, invalid("dead letters in the state %s cannot be changed so", f.States[i])
		}
		var err error
		plan.DeadLetters, err = c.filtered(ctx, f, true)

		return plan, err
	}
	prefixes, err := parseIDs(choice.IDs)
	if err != nil {
		return plan, err
	}
	ids, unknown, err := c.findAll(ctx, prefixes)
	if err != nil {
		return plan, err
	}
	plan.Unknown = unknown
	all, err := c.byID(ctx, ids)
	for _, letter := range all {
		if slices.Contains(from, letter.State) {
			plan.DeadLetters = append(plan.DeadLetters, letter)
		} else {
			plan.Unchanged = append(plan.Unchanged, letter)
		}
	}

	return plan, err
}

func (c *Client) byID(ctx context.Context, ids []string) ([]DeadLetter, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	params := DeadLetterFilter{States: AllStates()}.params()
	params.Ids, params.OldestFirst = ids, true

	return c.list(ctx, params)
}

// byConsumer splits a list into those of each consumer, in their order.
func byConsumer(list []DeadLetter) [][]DeadLetter {
	var lists [][]DeadLetter
	place := map[string]int{}
	for _, letter := range list {
		i, ok := place[letter.Consumer]
		if !ok {
			i = len(lists)
			place[letter.Consumer], lists = i, append(lists, nil)
		}
		lists[i] = append(lists[i], letter)
	}

	return lists
}
