package ops

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
)

// DeadLetter is a dead letter without the record itself.
type DeadLetter struct {
	ID         uuid.UUID            `json:"id"`
	Consumer   string               `json:"consumer"`
	Topic      string               `json:"topic"`
	Partition  int32                `json:"partition"`
	Offset     int64                `json:"offset"`
	RecordTime *time.Time           `json:"record_time"` // nil if the record has none
	State      idem.DeadLetterState `json:"state"`
	Attempts   int32                `json:"attempts"`
	FailedAt   *time.Time           `json:"failed_at"`   // nil if it was set to an infinite time by hand
	ResolvedAt *time.Time           `json:"resolved_at"` // nil if unresolved
	EventID    *string              `json:"event_id"`    // nil if the record has none
	Error      string               `json:"error"`

	// Awaits is what a parked one waits for: the first unresolved dead letter of its record key. It is nil for others.
	Awaits *AwaitedDeadLetter `json:"awaits"`

	// ShortID is the beginning of the id, long enough to be unique. DeadLetters sets it.
	ShortID string `json:"-"`
}

// AwaitedDeadLetter is what parked dead letters wait for. They follow once it is replayed or discarded.
type AwaitedDeadLetter struct {
	ID    uuid.UUID            `json:"id"`
	State idem.DeadLetterState `json:"state"`

	ShortID string `json:"-"` // as that of DeadLetter
}

// place is where its record stands.
func (l DeadLetter) place() RecordPlace {
	return RecordPlace{Consumer: l.Consumer, Topic: l.Topic, Partition: l.Partition, Offset: l.Offset}
}

// noTime is what the queries of dead letters return for a time that is none.
const noTime = math.MinInt64

func newDeadLetter(row db.DeadLetterListRow) DeadLetter {
	return DeadLetter{
		ID: row.ID, Consumer: row.Consumer, Topic: row.Topic, Partition: row.RecordPartition, Offset: row.RecordOffset,
		RecordTime: unless(noTime, row.RecordMicros), State: idem.DeadLetterState(row.State), Attempts: row.Attempts,
		FailedAt: unless(noTime, row.FailedMicros), ResolvedAt: unless(noTime, row.ResolvedMicros), EventID: row.EventID, Error: row.Error,
	}
}

// UnresolvedStates returns the states of dead letters that wait for an operator or for the
// consumer.
func UnresolvedStates() []idem.DeadLetterState {
	return []idem.DeadLetterState{idem.DeadLetterOpen, idem.DeadLetterParked, idem.DeadLetterReplay}
}

// ReplayableStates returns the states of dead letters that ReplayDeadLetters changes.
func ReplayableStates() []idem.DeadLetterState { return []idem.DeadLetterState{idem.DeadLetterOpen} }

// AllStates returns all states of dead letters.
func AllStates() []idem.DeadLetterState {
	return append(UnresolvedStates(), idem.DeadLetterReplayed, idem.DeadLetterDiscarded, idem.DeadLetterSuperseded, idem.DeadLetterExpired)
}

// DeadLetterFilter chooses dead letters. Fields that are empty choose all.
type DeadLetterFilter struct {
	Consumer string
	Topic    string
	EventID  string
	Error    string // a part of the error's text, which is case-sensitive

	// ErrorShape is the first line of the error, of 300 characters at most, with # for numbers and UUIDs, as
	// DeadLetterGroups tells it.
	ErrorShape string

	// States defaults to AllStates, or to those that PlanReplay and PlanDiscard can change.
	States []idem.DeadLetterState

	// Since chooses those that failed then or later.
	Since time.Time
	// Until chooses those that failed before.
	Until time.Time
	// MaxAge chooses those that failed not longer ago, by the clock of the database.
	MaxAge time.Duration

	// Limit is how many to take at most.
	Limit int32
}

// Validate finds out what DeadLetters, PlanReplay and PlanDiscard would refuse, without a connection.
// Errors wrap ErrInvalid.
func (f DeadLetterFilter) Validate() error {
	for _, text := range []struct{ field, value string }{{"consumer", f.Consumer}, {"topic", f.Topic}, {"event id", f.EventID}, {"error", f.Error}, {"error's shape", f.ErrorShape}} {
		if err := checkText("the "+text.field+" of the filter", text.value); err != nil {
			return err
		}
	}
	for _, state := range f.States {
		if !slices.Contains(AllStates(), state) {
			return invalid("there is no state %q of dead letters", state)
		}
	}
	if f.MaxAge < 0 {
		return invalid("the age of the filter is negative (%v)", f.MaxAge)
	}
	if f.Limit < 0 {
		return invalid("the limit of the filter is negative (%d)", f.Limit)
	}

	return nil
}

// isEmpty reports whether the filter chooses all; a limit chooses nothing by itself.
func (f DeadLetterFilter) isEmpty() bool {
	return f.Consumer == "" && f.Topic == "" && f.EventID == "" && f.Error == "" && f.ErrorShape == "" && f.States == nil &&
		f.Since.IsZero() && f.Until.IsZero() && f.MaxAge == 0
}

// params are the filter as the query takes it, but for the consumer.
func (f DeadLetterFilter) params() db.DeadLetterListParams {
	p := db.DeadLetterListParams{Topic: unlessEmpty(f.Topic), EventID: unlessEmpty(f.EventID), ErrorPart: unlessEmpty(f.Error), ErrorShape: unlessEmpty(f.ErrorShape)}
	for _, state := range f.States {
		p.States = append(p.States, string(state))
	}
	if !f.Since.IsZero() {
		p.Since = &f.Since
	}
	if !f.Until.IsZero() {
		p.Until = &f.Until
	}
	if f.MaxAge > 0 {
		seconds := f.MaxAge.Seconds()
		p.MaxAgeSeconds = &seconds
	}
	if f.Limit > 0 {
		p.MaxRows = &f.Limit
	}

	return p
}

func unlessEmpty(text string) *string {
	if text == "" {
		return nil
	}

	return &text
}

// DeadLetters lists the dead letters that match a filter, the latest first.
func (c *Client) DeadLetters(ctx context.Context, f DeadLetterFilter) ([]DeadLetter, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	if f.States == nil {
		f.States = AllStates()
	}

	return c.filtered(ctx, f, false)
}

// filtered lists what a valid filter with states chooses.
func (c *Client) filtered(ctx context.Context, f DeadLetterFilter, oldestFirst bool) ([]DeadLetter, error) {
	p, err := c.paramsOf(ctx, f)
	if err != nil {
		return nil, err
	}
	p.OldestFirst = oldestFirst

	return c.list(ctx, p)
}

// paramsOf are a valid filter with states as the query takes it.
func (c *Client) paramsOf(ctx context.Context, f DeadLetterFilter) (db.DeadLetterListParams, error) {
	p := f.params()
	if f.Consumer == "" {
		return p, nil
	}
	consumer, err := c.consumer(ctx, f.Consumer)
	p.ConsumerID = &consumer.id

	return p, err
}

func (c *Client) list(ctx context.Context, p db.DeadLetterListParams) ([]DeadLetter, error) {
	rows, err := c.queries.DeadLetterList(ctx, c.conn, p)
	if err != nil {
		return nil, c.failed(ctx, "list the dead letters", err)
	}
	list := make([]DeadLetter, len(rows))
	for i, row := range rows {
		list[i] = newDeadLetter(row)
	}

	awaited, err := c.awaited(ctx, idsOf(list))
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i].Awaits = awaited[list[i].ID]
	}

	return list, c.shortenIDs(ctx, list)
}

// awaited is what those of some dead letters that are parked wait for.
func (c *Client) awaited(ctx context.Context, ids []string) (map[uuid.UUID]*AwaitedDeadLetter, error) {
	rows, err := c.queries.DeadLetterAwaited(ctx, c.conn, ids)
	if err != nil {
		return nil, c.failed(ctx, "look for what the parked dead letters wait for", err)
	}
	awaited := make(map[uuid.UUID]*AwaitedDeadLetter, len(rows))
	for _, row := range rows {
		awaited[row.ID] = &AwaitedDeadLetter{ID: row.Awaited, State: idem.DeadLetterState(row.State)}
	}

	return awaited, nil
}

// idsOf are the ids of dead letters, as the queries take them.
func idsOf(list []DeadLetter) []string {
	ids := make([]string, len(list))
	for i, letter := range list {
		ids[i] = letter.ID.String()
	}

	return ids
}
