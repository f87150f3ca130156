package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// DecisionRequest says who decides about a lease, and why. Both are for people and may be empty.
type DecisionRequest struct {
	By     string // added to the database's role and this host, which are known
	Reason string

	// Until is Lease.Until of the lease that was looked at. With another one somebody has decided since, or an attempt has begun:
	// the error wraps ErrChanged. Zero: whatever the lease is by now, it is decided.
	Until time.Time
}

// until is that of the lease that is to be decided, as the queries take it.
func (r DecisionRequest) until() int64 {
	if r.Until.IsZero() {
		return 0
	}

	return r.Until.UnixMicro()
}

// longestContentType is what leases store, in bytes.
const longestContentType = 255

// LeaseResult is what an effect returned, as the service's function would have returned it.
type LeaseResult struct {
	ContentType string
	Body        []byte
}

// LeaseDecided is an event about which an operator has decided.
type LeaseDecided struct {
	Consumer   string `json:"consumer"`
	EventID    string `json:"event_id"`
	TookEffect bool   `json:"took_effect"` // false: it will be run again
	By         string `json:"by"`
	Reason     string `json:"reason"`
}

// CompleteLease completes an event whose effect has happened, with its result: the service gets it for each duplicate.
// Who decided, and why, is stored as metadata of the claim. The errors are ErrUnknownLease, ErrLeaseRuns while an
// attempt is running, ErrChanged, and ErrInvalid for a result that is not what its content type says.
func (c *Client) CompleteLease(ctx context.Context, consumer, eventID string, result LeaseResult, request DecisionRequest) (LeaseDecided, error) {
	if kind := result.ContentType; len(kind) > longestContentType || !tables.IsText(kind) {
		return LeaseDecided{}, invalid("the content type is not UTF-8 of at most %d bytes without NUL", longestContentType)
	}
	if result.ContentType == "application/json" && len(result.Body) > 0 && !json.Valid(result.Body) { // The service could never read it.
		return LeaseDecided{}, invalid("the result is not JSON, as its content type says: mend it, or give another type, such as text/plain")
	}
	lease, by, err := c.deciding(ctx, consumer, eventID, request)
	if err != nil {
		return LeaseDecided{}, err
	}
	guard, err := c.guard(ctx, consumer)
	if err != nil {
		return LeaseDecided{}, err
	}
	user, err := json.Marshal(map[string]string{"decided_by": by, "decision_reason": request.Reason})
	if err != nil {
		return LeaseDecided{}, fmt.Errorf("encode the decision: %w", err)
	}
	outcome, err := guard.ProcessIfNew(ctx, eventID, func(ctx context.Context, tx pgx.Tx) error {
		n, err := c.queries.LeaseDecide(ctx, tables.Qualified{DBTX: tx, Schema: c.schema}, db.LeaseDecideParams{
			ConsumerID: lease.consumerID, Key: lease.key.String(), ContentType: result.ContentType, Body: append([]byte{}, result.Body...),
			UntilMicros: request.until(),
		})
		if err == nil && n == 0 {
			return errUndecidable
		}

		return err
	}, idem.WithMetadata(idem.Metadata{User: user}), idem.WithFingerprint(lease.fingerprint))
	if errors.Is(err, errUndecidable) || err == nil && outcome != idem.Processed {
		return LeaseDecided{}, c.undecidable(ctx, lease, request)
	}

	return LeaseDecided{Consumer: consumer, EventID: eventID, TookEffect: true, By: by, Reason: request.Reason}, c.failed(ctx, "complete the event", err)
}

// errUndecidable ends the transaction of a decision about a lease that nobody can decide now.
var errUndecidable = errors.New("the lease cannot be decided")

// undecidable says why nothing could be decided: there is no lease any more, an attempt is running, or the lease is another one
// than was looked at.
func (c *Client) undecidable(ctx context.Context, was Lease, request DecisionRequest) error {
	now, err := c.lease(ctx, was.Consumer, was.EventID)
	if err != nil {
		return err
	}
	event := readable.Name(readable.Short(was.EventID))
	if now.State != LeaseRunning && !request.Until.IsZero() {
		return refuse(ErrChanged, "somebody has decided about event %s since you looked at it, or another attempt has ended; nothing was changed", event)
	}

	return refuse(ErrLeaseRuns, "an attempt of event %s is running; nothing was changed", event)
}

// RerunLease has the next delivery of an event run it again, whether its effect has happened or not. The errors are those of
// CompleteLease. It needs the right to update the columns decided_at, decided_by and decision_reason of the table
// leases.
func (c *Client) RerunLease(ctx context.Context, consumer, eventID string, request DecisionRequest) (LeaseDecided, error) {
	lease, by, err := c.deciding(ctx, consumer, eventID, request)
	if err != nil {
		return LeaseDecided{}, err
	}
	n, err := c.queries.LeaseRerun(ctx, c.conn, db.LeaseRerunParams{
		ConsumerID: lease.consumerID, Key: lease.key.String(), DecidedBy: by, DecisionReason: request.Reason, UntilMicros: request.until(),
	})
	if err == nil && n == 0 {
		return LeaseDecided{}, c.undecidable(ctx, lease, request)
	}

	return LeaseDecided{Consumer: consumer, EventID: eventID, By: by, Reason: request.Reason}, c.failed(ctx, "change the lease", err)
}

// deciding returns the lease of an event, and who decides about it.
func (c *Client) deciding(ctx context.Context, consumer, eventID string, request DecisionRequest) (Lease, string, error) {
	if err := checkWords(request.By, request.Reason); err != nil {
		return Lease{}, "", err
	}
	lease, err := c.lease(ctx, consumer, eventID)
	if err != nil {
		return Lease{}, "", err
	}
	by, err := c.operator(ctx, request.By)

	return lease, by, err
}
