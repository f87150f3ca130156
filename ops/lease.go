package ops

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// LeaseState is the state of a lease: of an event whose effect is outside the transaction, and that is not completed.
type LeaseState string

// The states.
const (
	LeaseRunning   LeaseState = "running"   // an attempt is running
	LeaseReleased  LeaseState = "released"  // the last attempt failed without an effect; the next may begin at Until
	LeaseUnknown   LeaseState = "unknown"   // the last attempt may have taken effect; the service decides with the next delivery
	LeaseUndecided LeaseState = "undecided" // the same, and an operator has to decide
)

// LeaseStates are all states.
func LeaseStates() []LeaseState {
	return []LeaseState{LeaseRunning, LeaseReleased, LeaseUnknown, LeaseUndecided}
}

// Lease is an event whose effect is outside the transaction, and that is not completed.
type Lease struct {
	Consumer string     `json:"consumer"`
	EventID  string     `json:"event_id"`
	State    LeaseState `json:"state"`
	Attempts int64      `json:"attempts"` // that have begun
	Unknown  int64      `json:"unknown"`  // of which nobody knows whether they took effect; one that is running does not count
	FirstAt  time.Time  `json:"first_at"` // when the first attempt began
	// Until is when the lease ends unless it is extended, when the next attempt may begin, or since when nobody knows
	// whether the last one took effect.
	Until    time.Time `json:"until"`
	Error    string    `json:"error"` // of the last attempt that returned one; may be empty
	Decision *Decision `json:"decision"`

	key         uuid.UUID
	consumerID  int64
	fingerprint idem.Fingerprint
}

// Decision says who had an event run again, when and why. Nil: nobody has.
type Decision struct {
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
}

func newLease(row db.LeaseListRow) Lease {
	l := Lease{
		Consumer: row.Consumer, EventID: row.Key.String(), State: LeaseState(row.State), Attempts: int64(row.Attempts), Unknown: int64(row.Unknown),
		FirstAt: utc(row.FirstMicros), Until: utc(row.UntilMicros), Error: row.Error, key: row.Key, fingerprint: idem.Fingerprint(row.Fingerprint),
	}
	if row.EventID != nil {
		l.EventID = *row.EventID
	}
	if row.DecidedBy != nil && row.DecisionReason != nil {
		l.Decision = &Decision{At: utc(row.DecidedMicros), By: *row.DecidedBy, Reason: *row.DecisionReason}
	}

	return l
}

// LeaseFilter chooses leases. Empty fields choose all.
type LeaseFilter struct {
	Consumer string
	States   []LeaseState
	Limit    int32
}

// Leases lists the leases that match a filter, the latest first.
func (c *Client) Leases(ctx context.Context, f LeaseFilter) ([]Lease, error) {
	if f.Limit < 0 {
		return nil, invalid("the limit of the filter is negative (%d)", f.Limit)
	}
	var p db.LeaseListParams
	for _, state := range f.States {
		if !slices.Contains(LeaseStates(), state) {
			return nil, invalid("there is no state %q of leases", state)
		}
	}
	if f.Consumer != "" {
		consumer, err := c.consumer(ctx, f.Consumer)
		if err != nil {
			return nil, err
		}
		p.ConsumerID = &consumer.id
	}
	if f.Limit > 0 {
		p.MaxRows = &f.Limit
	}

	return c.leases(ctx, p, f.States)
}

// leases lists leases in some states, or in any.
func (c *Client) leases(ctx context.Context, p db.LeaseListParams, states []LeaseState) ([]Lease, error) {
	if states == nil {
		states = LeaseStates()
	}
	for _, state := range states {
		p.States = append(p.States, string(state))
	}
	rows, err := c.queries.LeaseList(ctx, c.conn, p)
	if err != nil {
		return nil, c.failed(ctx, "list the leases", err)
	}
	list := make([]Lease, len(rows))
	for i, row := range rows {
		list[i] = newLease(row)
	}

	return list, nil
}

// UndecidedLeases counts the leases about which an operator has to decide. Status tells them, too, but reads much more.
func (c *Client) UndecidedLeases(ctx context.Context) (n int64, err error) {
	rows, err := c.queries.LeaseUndecided(ctx, c.conn)
	for _, row := range rows {
		n += row.Leases
	}

	return n, c.failed(ctx, "count the leases", err)
}

// LeaseDetails is a lease with the steps that have taken effect.
type LeaseDetails struct {
	Lease

	Steps []LeaseStep `json:"steps"`
}

// LeaseStep is a step of an event that has taken effect, with its result. In JSON, bytes that are UTF-8 are body_text,
// others body_base64.
type LeaseStep struct {
	Name        string    `json:"name"`
	StoredAt    time.Time `json:"stored_at"`
	ContentType string    `json:"content_type"`
	BodyText    *string   `json:"body_text"`
	BodyBase64  *string   `json:"body_base64"`

	Body []byte `json:"-"`
}

// Lease returns the lease of an event. The error is ErrUnknownLease if there is none.
func (c *Client) Lease(ctx context.Context, consumer, eventID string) (LeaseDetails, error) {
	lease, err := c.lease(ctx, consumer, eventID)
	if err != nil {
		return LeaseDetails{}, err
	}
	rows, err := c.queries.StepList(ctx, c.conn, db.StepListParams{ConsumerID: lease.consumerID, Key: lease.key})
	if err != nil {
		return LeaseDetails{}, c.failed(ctx, "list the steps", err)
	}
	details := LeaseDetails{Lease: lease, Steps: make([]LeaseStep, len(rows))}
	for i, row := range rows {
		step := LeaseStep{Name: row.Step, StoredAt: utc(row.StoredMicros), ContentType: row.ContentType, Body: row.Body}
		step.BodyText, step.BodyBase64 = textOrBase64(row.Body)
		details.Steps[i] = step
	}

	return details, nil
}

func (c *Client) lease(ctx context.Context, consumer, eventID string) (Lease, error) {
	if err := checkEventID(eventID); err != nil {
		return Lease{}, err
	}
	of, err := c.consumer(ctx, consumer)
	if err != nil {
		return Lease{}, err
	}
	key := idem.Key(eventID).String()
	list, err := c.leases(ctx, db.LeaseListParams{ConsumerID: &of.id, Key: &key}, nil)
	if err != nil {
		return Lease{}, err
	}
	if len(list) == 0 {
		return Lease{}, refuse(ErrUnknownLease, "%s has no lease of event %s: it was completed, or no attempt has begun",
			readable.Name(consumer), readable.Name(readable.Short(eventID)))
	}
	list[0].consumerID = of.id

	return list[0], nil
}
