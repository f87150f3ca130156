package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// delivery is the way of a turn's records to Kafka.
type delivery struct {
	relay   *Relay
	sent    sent             // and not noted in PostgreSQL
	held    map[int64]bool   // key hashes behind which to park
	waiting map[string]error // topics that do not take records now
	left    int              // records of those topics
	took    map[string]bool  // topics that did not take records before the turn, and do now
	lasted  time.Duration    // the longest call after which a topic took none
}

// sent is what became of records, by their ids.
type sent struct {
	delivered, parked, failed []int64
	reasons                   []string // of the failed ones
}

func newDelivery(r *Relay) *delivery {
	return &delivery{relay: r, held: map[int64]bool{}, waiting: map[string]error{}, took: map[string]bool{}}
}

// takeSent returns what is to be noted in PostgreSQL.
func (d *delivery) takeSent() sent {
	s := d.sent
	d.sent = sent{}

	return s
}

// send sends records. Of those that Kafka refuses it sends the halves, until those at fault stand alone: a broker refuses
// whole batches.
func (d *delivery) send(ctx context.Context, rows []db.OutboxReadRow) {
	rows = d.sendable(rows)
	if len(rows) == 0 {
		return
	}
	began := time.Now()
	errs := d.relay.produce(ctx, rows)
	took := time.Since(began)
	var refused []db.OutboxReadRow
	for i := range rows {
		row := &rows[i]
		switch err := errs[i]; {
		case err == nil:
			d.sent.delivered = append(d.sent.delivered, row.ID)
			if d.relay.waiting[row.Topic] != nil {
				d.took[row.Topic] = true
			}
		case !errors.Is(err, ErrRefused):
			d.waiting[row.Topic], d.lasted = err, max(d.lasted, took)
			d.left++
		case len(rows) > 1:
			refused = append(refused, *row)
		default:
			d.fail(ctx, row, err)
		}
	}
	if len(refused) > 0 {
		half := (len(refused) + 1) / 2
		d.send(ctx, refused[:half])
		d.send(ctx, refused[half:])
	}
}

// sendable leaves out what must not overtake a failed record, or one that Kafka did not take.
func (d *delivery) sendable(rows []db.OutboxReadRow) []db.OutboxReadRow {
	return slices.DeleteFunc(rows, func(row db.OutboxReadRow) bool {
		waits, parked := d.waiting[row.Topic] != nil, row.Held || d.held[row.KeyHash]
		switch {
		case waits:
			d.left++
		case parked:
			d.sent.parked = append(d.sent.parked, row.ID)
		}

		return waits || parked
	})
}

// fail gives a record up.
func (d *delivery) fail(ctx context.Context, row *db.OutboxReadRow, err error) {
	d.sent.failed, d.sent.reasons = append(d.sent.failed, row.ID), append(d.sent.reasons, tables.CleanText(err.Error()))
	if row.KeyHash != 0 {
		d.held[row.KeyHash] = true
	}
	d.relay.config.Logger.ErrorContext(ctx, "outbox: Kafka refuses a record; see \"idemctl outbox list\"", "id", row.ID, "topic", row.Topic,
		"event_id", row.EventID, "error", err)
}

// produce calls the Producer between its hooks. It returns an error or nil for each record.
func (r *Relay) produce(ctx context.Context, rows []db.OutboxReadRow) []error {
	records := make([]Record, len(rows))
	for i := range rows {
		records[i] = r.record(&rows[i])
	}
	b := ProduceBegin{records}
	ctx = begin(ctx, r.config.Hooks.Produce, b)
	late := time.AfterFunc(r.idle(), func() {
		r.config.Logger.ErrorContext(ctx, "outbox: the Producer does not return: this relay stands still, others take its turns", "after", r.idle())
	})
	defer late.Stop()
	errs := r.producer.Produce(ctx, records)
	end(ctx, r.config.Hooks.Produce, b, ProduceEnd{errs})
	if len(errs) == len(records) {
		return errs
	}
	all := make([]error, len(records))
	if errs != nil {
		for i := range all {
			all[i] = fmt.Errorf("outbox: the Producer returned %d results for %d records", len(errs), len(records))
		}
	}

	return all
}

// record makes the record that is sent.
func (r *Relay) record(row *db.OutboxReadRow) Record {
	record := Record{Topic: row.Topic, Key: row.Key, Value: row.Value, EventID: row.EventID}
	record.Headers = make([]consume.RecordHeader, 0, len(row.HeaderKeys)+1)
	for i, key := range row.HeaderKeys {
		if string(key) != r.config.EventIDHeader {
			record.Headers = append(record.Headers, consume.RecordHeader{Key: string(key), Value: row.HeaderValues[i]})
		}
	}
	record.Headers = append(record.Headers, consume.RecordHeader{Key: r.config.EventIDHeader, Value: []byte(row.EventID)})

	return record
}
