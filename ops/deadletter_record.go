package ops

import (
	"context"
	"encoding/base64"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// DeadLetterRecord is a dead letter with its record. In JSON, bytes that are UTF-8 are …_text, others …_base64;
// both are null where there are none.
type DeadLetterRecord struct {
	DeadLetter

	ClaimID     uuid.NullUUID      `json:"claim_id"` // null if the event is to be processed again whoever has claimed it
	KeyText     *string            `json:"key_text"`
	KeyBase64   *string            `json:"key_base64"`
	Headers     []DeadLetterHeader `json:"headers"`
	ValueText   *string            `json:"value_text"`
	ValueBase64 *string            `json:"value_base64"`

	// Key and Value are the bytes themselves, nil where the record has none.
	Key   []byte `json:"-"`
	Value []byte `json:"-"`
}

// DeadLetterHeader is a header of the record of a dead letter.
type DeadLetterHeader struct {
	KeyText     *string `json:"key_text"`
	KeyBase64   *string `json:"key_base64"`
	ValueText   *string `json:"value_text"`
	ValueBase64 *string `json:"value_base64"`

	Key   []byte `json:"-"`
	Value []byte `json:"-"`
}

// DeadLetter returns a dead letter with its record. The id may be shortened to its first digits, at least
// four, if no other id begins with them. Otherwise the error wraps ErrUnknownDeadLetter or ErrInvalid.
func (c *Client) DeadLetter(ctx context.Context, id string) (DeadLetterRecord, error) {
	prefixes, err := parseIDs([]string{id})
	if err != nil {
		return DeadLetterRecord{}, err
	}
	found, err := c.find(ctx, prefixes[0])
	if err != nil {
		return DeadLetterRecord{}, err
	}
	if found == nil {
		return DeadLetterRecord{}, refuse(ErrUnknownDeadLetter, "there is no dead letter %s; \"idemctl deadletter list --state all%s\" lists them",
			prefixes[0], readable.SchemaFlag(c.schema))
	}
	row, err := c.queries.DeadLetterGet(ctx, c.conn, db.DeadLetterGetParams{ConsumerID: found.ConsumerID, ID: found.ID})
	if err != nil {
		return DeadLetterRecord{}, c.failed(ctx, "read the dead letter", err)
	}

	awaited, err := c.awaited(ctx, []string{found.ID.String()})
	record := newDeadLetterRecord(row)
	record.Awaits = awaited[found.ID]

	return record, err
}

// CheckDeadLetterID returns an error unless a text can be the id of a dead letter or the beginning of one.
// Errors wrap ErrInvalid.
func CheckDeadLetterID(id string) error {
	_, err := parseIDs([]string{id})

	return err
}

func newDeadLetterRecord(row db.DeadLetterGetRow) DeadLetterRecord {
	l := DeadLetterRecord{
		DeadLetter: newDeadLetter(db.DeadLetterListRow{
			ConsumerID: row.ConsumerID, ID: row.ID, Consumer: row.Consumer, Topic: row.Topic, RecordPartition: row.RecordPartition, RecordOffset: row.RecordOffset,
			State: row.State, Attempts: row.Attempts, EventID: row.EventID, Error: row.Error,
			RecordMicros: row.RecordMicros, FailedMicros: row.FailedMicros, ResolvedMicros: row.ResolvedMicros,
		}),
		ClaimID: row.ClaimID, Key: row.RecordKey, Value: row.RecordValue, Headers: make([]DeadLetterHeader, len(row.HeaderKeys)),
	}
	l.KeyText, l.KeyBase64 = textOrBase64(l.Key)
	l.ValueText, l.ValueBase64 = textOrBase64(l.Value)
	for i, key := range row.HeaderKeys {
		h := &l.Headers[i]
		h.Key = key
		// The two arrays have one length unless somebody has changed them by hand, who may need this most.
		if i < len(row.HeaderValues) {
			h.Value = row.HeaderValues[i]
		}
		h.KeyText, h.KeyBase64 = textOrBase64(h.Key)
		h.ValueText, h.ValueBase64 = textOrBase64(h.Value)
	}

	return l
}

// textOrBase64 are bytes in JSON, where only UTF-8 can be text: one of the results is nil, both are if b is.
func textOrBase64(b []byte) (text, base64Text *string) {
	if b == nil {
		return nil, nil
	}
	if utf8.Valid(b) {
		s := string(b)

		return &s, nil
	}
	encoded := base64.StdEncoding.EncodeToString(b)

	return nil, &encoded
}
