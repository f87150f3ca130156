package simulation

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/engine"
)

const topic = "t"

// partition is a log, and what the group knows of it. The world's mutex protects it.
type partition struct {
	number    int32
	records   []record
	end       int64   // HighWatermark
	longest   int64   // where it ever ended
	epochs    []epoch // of its leaders; never empty
	held      int64   // offsets from here on belong to an open transaction; engine.None: there is none
	committed engine.Committed
	run       *run // who owns it, as far as the group knows; nil: nobody
	assigned  int64
}

// epoch is that of a leader, and the first offset that was its to write.
type epoch struct {
	number int32
	start  int64
}

// record is one of a log's.
type record struct {
	consume.Record

	batch int64 // the first offset of its batch
	last  int64 // of that, if it cannot be read; or engine.None
	epoch int32 // of the leader that wrote it
}

// produce appends records in one batch. Some offsets have none, as after a compaction.
func (w *world) produce(p *partition, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	batch, before := p.end, len(p.records)
	torn := w.plan.seed.of("batch", int64(p.number), batch)
	for range n {
		d := w.plan.seed.of("record", int64(p.number), p.end)
		if d.once(8) {
			p.end++
		}
		leader := p.epochs[len(p.epochs)-1].number
		id := fmt.Sprintf("%d-%d-%d", p.number, p.end, leader)
		if w.plan.duplicates && len(p.records) > 0 && d.once(4) {
			id = idOf(p.records[d.below(len(p.records))].Record)
		}
		r := record{batch: batch, last: engine.None, epoch: leader}
		r.Record = consume.Record{
			Topic: topic, Partition: p.number, Offset: p.end, Time: time.Now(), Value: []byte(id),
			Headers: []consume.RecordHeader{{Key: consume.DefaultEventIDHeader, Value: []byte(id)}},
		}
		if key := "-abc"[d.below(4)]; key != '-' {
			r.Key = []byte{key}
		}
		p.records = append(p.records, r)
		p.end++
	}
	if w.plan.tears && w.stormy.Load() && torn.once(4) {
		for i := before; i < len(p.records); i++ {
			p.records[i].last = p.end - 1
		}
	}
	p.longest = max(p.longest, p.end)
}

// elect makes another broker the leader, an unclean election one that lacks the latest records.
func (w *world) elect(p *partition, lost int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	leader := p.epochs[len(p.epochs)-1].number + 1
	p.records = slices.Clone(p.records[:len(p.records)-min(lost, len(p.records))])
	if lost > 0 {
		p.end = 0
		if len(p.records) > 0 {
			p.end = p.records[len(p.records)-1].Offset + 1
		}
	}
	p.epochs = append(slices.DeleteFunc(slices.Clone(p.epochs), func(e epoch) bool { return e.start >= p.end }), epoch{leader, p.end})
	if p.held > p.end {
		p.held = engine.None
	}
	w.logf("partition %d ends at %d", p.number, p.end)
}

func idOf(r consume.Record) string { return string(r.Value) }

// stable is the end of what is delivered.
func (p *partition) stable() int64 {
	if p.held != engine.None {
		return p.held
	}

	return p.end
}

// unreadable is the batch at an offset, if it cannot be read.
func (w *world) unreadable(p *partition, offset int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(p.records, func(r record) bool { return r.Offset >= offset })
	if i < 0 || p.records[i].last == engine.None || p.records[i].Offset >= p.stable() {
		return nil
	}
	r := p.records[i]

	return &engine.UnreadableError{First: r.batch, Last: r.last, Raw: []byte("torn"), Err: errors.New("torn")}
}

// from returns records from an offset on, and where the next fetch goes on. Of the first batch only, if so wanted.
func (p *partition) from(offset int64, most int, firstBatch bool) (records []consume.Record, next int64, epoch int32) {
	next, epoch = p.stable(), engine.None
	batch := int64(engine.None)
	for _, r := range p.records {
		switch {
		case r.Offset < offset:
			continue
		case r.Offset >= p.stable():
			return records, next, epoch
		case len(records) > 0 && r.last != engine.None, len(records) == most, firstBatch && batch != engine.None && r.batch != batch, epoch != engine.None && r.epoch != epoch:
			return records, r.Offset, epoch
		}
		batch, epoch = r.batch, r.epoch
		r.HighWatermark = p.end
		r.Value = bytes.Clone(r.Value)
		r.Headers = []consume.RecordHeader{{Key: r.Headers[0].Key, Value: bytes.Clone(r.Headers[0].Value)}}
		records = append(records, r.Record)
	}

	return records, next, epoch
}
