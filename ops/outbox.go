package ops

import (
	"context"
	"slices"
	"time"

	"github.com/nova-events/idempotent-consumer/db"
)

// OutboxState is the state of a record of the outbox that Kafka refuses, or that waits behind one.
type OutboxState string

// The states.
const (
	OutboxFailed  OutboxState = "failed"  // Kafka refuses it; somebody has to decide
	OutboxParked  OutboxState = "parked"  // it waits behind a failed one of its topic and key
	OutboxRetry   OutboxState = "retry"   // it will be sent again, by the next turn of a relay
	OutboxDiscard OutboxState = "discard" // it will be deleted

	// OutboxWaiting is that of a record in a Story that has no trouble: a relay takes it to Kafka.
	OutboxWaiting OutboxState = "waiting"
)

// OutboxStates are all states but OutboxWaiting.
func OutboxStates() []OutboxState {
	return []OutboxState{OutboxFailed, OutboxParked, OutboxRetry, OutboxDiscard}
}

// OutboxRecord is a record of the outbox: in lists one that Kafka refuses, or that waits behind one. In JSON, a key that is UTF-8 is
// key_text, another one key_base64.
type OutboxRecord struct {
	ID          int64       `json:"id"`
	Topic       string      `json:"topic"`
	EventID     string      `json:"event_id"`
	State       OutboxState `json:"state"`
	Error       string      `json:"error"`
	PublishedAt time.Time   `json:"published_at"`
	KeyText     *string     `json:"key_text"`
	KeyBase64   *string     `json:"key_base64"`
	ValueBytes  int64       `json:"value_bytes"`
	Parked      int64       `json:"parked"` // records that wait behind it

	Key []byte `json:"-"`
}

// OutboxFilter chooses records of the outbox. Empty fields choose all.
type OutboxFilter struct {
	Topic  string
	States []OutboxState
	IDs    []int64
	Limit  int32
}

// OutboxRecords lists the records that Kafka refuses, and those that wait behind them, the first ones first.
func (c *Client) OutboxRecords(ctx context.Context, f OutboxFilter) ([]OutboxRecord, error) {
	if f.Limit < 0 {
		return nil, invalid("the limit of the filter is negative (%d)", f.Limit)
	}
	if f.States == nil {
		f.States = OutboxStates()
	}
	p := db.OutboxHeldParams{Ids: f.IDs}
	for _, state := range f.States {
		if !slices.Contains(OutboxStates(), state) {
			return nil, invalid("there is no state %q of records of the outbox", state)
		}
		p.States = append(p.States, string(state))
	}
	if err := checkText("the topic of the filter", f.Topic); err != nil {
		return nil, err
	}
	p.Topic = unlessEmpty(f.Topic)
	if f.Limit > 0 {
		p.MaxRows = &f.Limit
	}
	rows, err := c.queries.OutboxHeld(ctx, c.conn, p)
	if err != nil {
		return nil, c.failed(ctx, "list the outbox", err)
	}
	list := make([]OutboxRecord, len(rows))
	for i, row := range rows {
		list[i] = newOutboxRecord(row)
	}

	return list, nil
}

func newOutboxRecord(row db.OutboxHeldRow) OutboxRecord {
	r := OutboxRecord{
		ID: row.ID, Topic: row.Topic, EventID: row.EventID, State: OutboxState(row.State), Error: row.Error, PublishedAt: utc(row.CreatedMicros),
		Key: row.Key, ValueBytes: row.ValueBytes, Parked: row.Parked,
	}
	r.KeyText, r.KeyBase64 = textOrBase64(row.Key)

	return r
}

// OutboxResult is what became of records of the outbox.
type OutboxResult struct {
	Changed   []int64 `json:"changed"`   // their ids
	Unchanged []int64 `json:"unchanged"` // those that are not failed: somebody else was faster
}

// RetryOutbox has the relay send failed records again, which OutboxRecords has listed, and then what waits behind them.
func (c *Client) RetryOutbox(ctx context.Context, records []OutboxRecord) (OutboxResult, error) {
	return c.decideOutbox(ctx, records, OutboxRetry)
}

// DiscardOutbox has the relay delete failed records, which OutboxRecords has listed, for ever, and then send what waits
// behind them.
func (c *Client) DiscardOutbox(ctx context.Context, records []OutboxRecord) (OutboxResult, error) {
	return c.decideOutbox(ctx, records, OutboxDiscard)
}

func (c *Client) decideOutbox(ctx context.Context, records []OutboxRecord, decision OutboxState) (OutboxResult, error) {
	r := OutboxResult{Changed: []int64{}, Unchanged: []int64{}}
	ids := make([]int64, len(records))
	for i, record := range records {
		ids[i] = record.ID
	}
	changed, err := c.queries.OutboxDecide(ctx, c.conn, db.OutboxDecideParams{Decision: string(decision), Ids: ids})
	if err != nil {
		return r, c.failed(ctx, "change the outbox", err)
	}
	for _, id := range ids {
		if slices.Contains(changed, id) {
			r.Changed = append(r.Changed, id)
		} else {
			r.Unchanged = append(r.Unchanged, id)
		}
	}

	return r, nil
}

// OutboxStatus is what the outbox holds.
type OutboxStatus struct {
	Waiting int64      `json:"waiting"` // for the relay, those of OutboxRetry and OutboxDiscard too; at most OutboxCountLimit are counted
	Oldest  *time.Time `json:"oldest"`  // when the first of them was published; nil without any
	Failed  int64      `json:"failed"`  // Kafka refuses them, and nobody has decided about them
	Parked  int64      `json:"parked"`  // they wait behind those
}

// OutboxCountLimit is how many waiting records of the outbox are counted at most.
const OutboxCountLimit = 100_000

// OutboxStatus counts what the outbox holds. Status tells it, too, but reads much more.
func (c *Client) OutboxStatus(ctx context.Context) (OutboxStatus, error) {
	row, err := c.queries.OutboxCounts(ctx, c.conn, OutboxCountLimit)

	return OutboxStatus{Waiting: row.Waiting, Oldest: unless(0, row.OldestMicros), Failed: row.Failed, Parked: row.Parked}, c.failed(ctx, "look at the outbox", err)
}

// late is for how long the first record has waited for a relay, 0 if one can still come in time.
func (s OutboxStatus) late(now time.Time) time.Duration {
	if s.Oldest == nil || now.Sub(*s.Oldest) < outboxLate {
		return 0
	}

	return now.Sub(*s.Oldest)
}

// outboxLate is how long a record may wait for a relay before that is reported.
const outboxLate = time.Minute
