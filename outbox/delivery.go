package outbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/db"
)

// delivery is the way of some records to Kafka.
type delivery struct {
	relay   *Relay
	records map[int64]Record // by their ids

	delivered, parked, failed []int64
	reasons                   []string         // of the failed ones
	held                      map[int64]bool   // key hashes behind which to park
	waiting                   map[string]error // topics that do not take records now
	left                      int              // records of those topics
}

func newDelivery(r *Relay, rows []db.OutboxReadRow) *delivery {
	d := &delivery{relay: r, records: make(map[int64]Record, len(rows)), held: map[int64]bool{}, waiting: map[string]error{}}
	for i := range rows {
		d.records[rows[i].ID] = r.record(&rows[i])
		if rows[i].Held {
			d.held[rows[i].KeyHash] = true
		}
	}

	return d
}

// send sends records. Of those that Kafka refuses it sends the halves, until those at fault stand alone: a broker refuses
// whole batches.
func (d *delivery) send(ctx context.Context, rows []db.OutboxReadRow) {
	rows = d.sendable(rows)
	if len(rows) == 0 {
		return
	}
	records := make([]Record, len(rows))
	for i := range rows {
		records[i] = d.records[rows[i].ID]
	}
	errs := d.relay.produce(ctx, records)
	var refused []db.OutboxReadRow
	for i, row := range rows {
		switch err := errs[i]; {
		case err == nil:
			d.delivered = append(d.delivered, row.ID)
		case !errors.Is(err, ErrRefused):
			d.waiting[row.Topic] = err
			d.left++
		case len(rows) > 1:
			refused = append(refused, row)
		default:
			d.failed, d.reasons = append(d.failed, row.ID), append(d.reasons, err.Error())
			if row.KeyHash != 0 {
				d.held[row.KeyHash] = true
			}
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
	var now []db.OutboxReadRow
	for _, row := range rows {
		switch _, waits := d.waiting[row.Topic]; {
		case waits:
			d.left++
		case d.held[row.KeyHash]:
			d.parked = append(d.parked, row.ID)
		default:
			now = append(now, row)
		}
	}

	return now
}

// produce calls the Producer between its hooks. It returns an error or nil for each record.
func (r *Relay) produce(ctx context.Context, records []Record) []error {
	b := ProduceBegin{records}
	ctx = begin(ctx, r.config.Hooks.Produce, b)
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
