package idemtest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/engine"
)

const (
	// defaultTopic is that of records that name none.
	defaultTopic = "events"

	// fetchWait is how long a fetch at the end of a partition waits.
	fetchWait = 100 * time.Millisecond
)

// place names a partition.
type place struct {
	topic     string
	partition int32
}

// logs are the partitions that consumers read.
type logs struct {
	mu         sync.Mutex
	partitions map[place]*partitionLog
	copies     []consume.Record
}

// partitionLog is one of them.
type partitionLog struct {
	records   []consume.Record
	base      int64        // the offset of the first one: where the first consumer begins; or engine.None
	committed engine.Place // of the group; Offset is engine.None if there is nothing
	started   bool         // somebody has asked for records
}

var nothingCommitted = engine.Place{Offset: engine.None, LeaderEpoch: engine.None}

func newLogs(records []consume.Record) *logs {
	l := &logs{partitions: make(map[place]*partitionLog)}
	l.append(records)

	return l
}

// append adds records to their partitions.
func (l *logs) append(records []consume.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range records {
		if r.Topic == "" {
			r.Topic = defaultTopic
		}
		p := l.partition(place{r.Topic, r.Partition})
		p.records = append(p.records, r)
	}
}

// partition returns a partition, which is made if there is none.
func (l *logs) partition(at place) *partitionLog {
	p := l.partitions[at]
	if p == nil {
		p = &partitionLog{base: engine.None, committed: nothingCommitted}
		l.partitions[at] = p
	}

	return p
}

// places are all partitions.
func (l *logs) places() []place {
	l.mu.Lock()
	defer l.mu.Unlock()

	return slices.Collect(maps.Keys(l.partitions))
}

// topics is how many topics there are.
func (l *logs) topics() int {
	topics := make(map[string]bool)
	for _, at := range l.places() {
		topics[at.topic] = true
	}

	return len(topics)
}

// rewind takes back what the group has committed, as if the commits had been lost.
func (l *logs) rewind() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.partitions {
		p.committed, p.started = nothingCommitted, false
	}
}

// unfinished names one of the partitions in which the group has not come to the end; "" is none.
func (l *logs) unfinished(places []place) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range places {
		p := l.partition(at)
		if !p.started || p.committed.Offset < p.end() {
			return fmt.Sprintf("%s/%d is at offset %d of %d", at.topic, at.partition, p.committed.Offset, p.end())
		}
	}

	return ""
}

// end is the offset behind the last record.
func (p *partitionLog) end() int64 { return max(p.base, 0) + int64(len(p.records)) }

// at returns the records from an offset on, in their places.
func (p *partitionLog) at(offset int64) []consume.Record {
	first := offset - p.base
	if first < 0 || first > int64(len(p.records)) {
		return nil
	}
	records := slices.Clone(p.records[first:])
	for i := range records {
		records[i].Offset, records[i].HighWatermark = offset+int64(i), p.end()
	}

	return records
}

// source is a partition as the engine sees it.
type source struct {
	place

	logs *logs
}

// Fetch returns what there is. Where the consumer begins is the first record's place.
func (s *source) Fetch(ctx context.Context, request engine.Request) (*engine.Batch, error) {
	care := engine.DecodeAll
	if request.Before != nil {
		var err error
		if care, err = request.Before(); err != nil {
			return nil, err
		}
	}
	records, end, known := s.records(request.Offset)
	switch {
	case !known:
		return nil, engine.ErrOutOfRange
	case len(records) == 0:
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(fetchWait):
		}
	case care == engine.DecodeFirst:
		records = records[:1]
	case care == engine.DecodeNothing:
		return nil, &engine.UnreadableError{First: request.Offset, Last: request.Offset, Err: engine.ErrDeadly}
	}
	released := make(chan struct{})

	return &engine.Batch{
		Records: records, Next: request.Offset + int64(len(records)), HighWatermark: end, LastStable: end, LeaderEpoch: engine.None,
		Release: sync.OnceFunc(func() { close(released) }), Released: released,
	}, nil
}

func (s *source) records(offset int64) (records []consume.Record, end int64, known bool) {
	s.logs.mu.Lock()
	defer s.logs.mu.Unlock()
	p := s.logs.partition(s.place)
	if p.base == engine.None {
		p.base = offset
	}
	p.started = true
	if offset < p.base || offset > p.end() {
		return nil, 0, false
	}

	return p.at(offset), p.end(), true
}

func (s *source) Committed(context.Context) (engine.Committed, error) {
	s.logs.mu.Lock()
	defer s.logs.mu.Unlock()
	committed := s.logs.partition(s.place).committed
	if committed.Offset == engine.None {
		return engine.Committed{Offset: engine.None}, nil
	}

	return engine.Committed{Offset: committed.Offset, Metadata: committed.Metadata(""), Any: true}, nil
}

func (s *source) CommitSoon(at engine.Place) {
	s.logs.mu.Lock()
	defer s.logs.mu.Unlock()
	if p := s.logs.partition(s.place); at.Offset > p.committed.Offset { // Else it is that of a former member.
		p.committed = at
	}
}

func (s *source) Commit(_ context.Context, at engine.Place) error {
	s.CommitSoon(at)

	return nil
}

func (s *source) Topics() []engine.Topic {
	most := int32(0)
	for _, at := range s.logs.places() {
		if at.topic == s.topic {
			most = max(most, at.partition)
		}
	}

	return []engine.Topic{{Name: s.topic, Partitions: int(most) + 1}}
}

// Ends are where the records will be. While nobody has begun to read, a consumer that wants none but new
// records begins before them.
func (s *source) Ends(_ context.Context, _ string, partitions ...int32) (map[int32]engine.Ends, error) {
	s.logs.mu.Lock()
	defer s.logs.mu.Unlock()
	ends := make(map[int32]engine.Ends, len(partitions))
	for _, number := range partitions {
		p := s.logs.partitions[place{s.topic, number}]
		if p == nil || p.base == engine.None {
			ends[number] = engine.Ends{}
		} else {
			ends[number] = engine.Ends{First: p.base, Last: p.end()}
		}
	}

	return ends, nil
}

// Since finds nothing: the consumer begins before all records, as with consume.FromLatest.
func (*source) Since(_ context.Context, _ string, _ time.Time, partitions ...int32) (map[int32]int64, error) {
	none := make(map[int32]int64, len(partitions))
	for _, number := range partitions {
		none[number] = engine.None
	}

	return none, nil
}

func (*source) CheckTopic(context.Context) error { return nil }

func (*source) EpochEnd(context.Context, int32) (latest int32, end int64, err error) {
	return engine.None, engine.None, nil
}

func (s *source) Copy(_ context.Context, topic string, record consume.Record) error {
	s.logs.mu.Lock()
	defer s.logs.mu.Unlock()
	record.Topic = topic
	s.logs.copies = append(s.logs.copies, record)

	return nil
}
