package idemtest

import (
	"context"
	"fmt"
	"slices"

	"github.com/nova-events/idempotent-consumer/idem"
)

// Subject is what Check tests: handlers, and their events. Events, Records and Calls make one.
type Subject struct {
	guard    *idem.Guard
	delivery delivery
	outside  []outside
	err      error // why it cannot be delivered
}

// outside is something outside the database that handlers change.
type outside struct {
	what  string
	count func() int
}

// Outside adds something that a handler does outside the database, such as mails: count returns how often
// it was done. Check compares the counts, so a handler that does it again after a crash fails.
func (s Subject) Outside(what string, count func() int) Subject {
	s.outside = append(slices.Clone(s.outside), outside{what, count})

	return s
}

// delivery delivers the events of a Subject.
type delivery interface {
	// deliver delivers all, as in production.
	deliver(ctx context.Context, p *probe) error
	// again delivers all once more.
	again(ctx context.Context, p *probe) error
	// race delivers all several times at once.
	race(ctx context.Context, p *probe) error
	// count is how many there are.
	count() int
	// reorder puts them in another order, before they are delivered.
	reorder(order []int)
}

// Event is an event with its handler.
type Event struct {
	ID     string
	Handle idem.Handler
}

// Events is a service that calls Guard.ProcessIfNew for each event. The events are delivered in this order.
func Events(guard *idem.Guard, events ...Event) Subject {
	return Subject{guard: guard, delivery: &eventList{guard, events}}
}

type eventList struct {
	guard  *idem.Guard
	events []Event
}

func (l *eventList) deliver(ctx context.Context, p *probe) error {
	for _, e := range l.events {
		if _, err := l.guard.ProcessIfNew(ctx, e.ID, p.handler(fmt.Sprintf("event %q", e.ID), e.Handle)); err != nil {
			return fmt.Errorf("event %q: %w", e.ID, err)
		}
	}

	return nil
}

func (l *eventList) again(ctx context.Context, p *probe) error { return l.deliver(ctx, p) }

func (l *eventList) count() int { return len(l.events) }

func (l *eventList) reorder(order []int) { l.events = inOrder(l.events, order) }

// inOrder returns the elements in another order.
func inOrder[E any](all []E, order []int) []E {
	reordered := make([]E, len(all))
	for i, from := range order {
		reordered[i] = all[from]
	}

	return reordered
}

func (l *eventList) race(ctx context.Context, p *probe) error {
	return atOnce(ctx, processes, func(ctx context.Context) error { return l.deliver(ctx, p) })
}
