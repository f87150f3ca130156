package simulation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/engine"
)

// maxWait is how long a fetch waits for records.
const maxWait = 500 * time.Millisecond

// source is a partition as one of its owners sees it.
type source struct {
	*run

	world   *world
	waits   bool // for memory that the batch before takes up
	damaged int  // answers in a row; only Fetch uses it
}

var _ engine.Source = (*source)(nil)

// errStale is what the broker says to a member that is not in the group any more.
var errStale = errors.New("illegal generation")

// ask takes the time of a request and fails as the plan wants. Nobody answers a process that is dead.
func (s *source) ask(ctx context.Context, what string) (draw, error) {
	w := s.world
	d := w.plan.seed.of(what, s.id(), w.count(what, s.id()))
	pause := d.between(50*time.Microsecond, 2*time.Millisecond)
	if w.faulty(&d) {
		pause = d.between(0, 2*time.Second)
	}
	switch {
	case !backoff.Sleep(ctx, pause):
		return d, ctx.Err()
	case s.process.isDead():
		<-ctx.Done()

		return d, ctx.Err()
	case w.faulty(&d), what == "fetch" && w.isAway("kafka"), what != "fetch" && w.isAway("coordinator"):
		return d, fmt.Errorf("%s: %w", what, io.ErrUnexpectedEOF)
	}

	return d, nil
}

// Fetch implements engine.Source.
func (s *source) Fetch(ctx context.Context, request engine.Request) (*engine.Batch, error) {
	if after := request.After; after != nil && s.waits {
		select { // As a client does whose memory is used.
		case <-after:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	d, err := s.ask(ctx, "fetch")
	if err != nil {
		return nil, err
	}
	if s.world.faulty(&d) && s.damaged < 3 { // More in a row are for people to judge.
		s.damaged++

		return nil, &engine.UnreadableError{First: request.Offset, Last: request.Offset, Damaged: true, Err: errors.New("damaged")}
	}
	s.damaged = 0
	deadline := time.Now().Add(maxWait)
	for !s.world.hasRecords(s.partition, request.Offset) && time.Now().Before(deadline) {
		if !backoff.Sleep(ctx, d.between(maxWait/10, maxWait/5)) {
			return nil, ctx.Err()
		}
	}
	care := engine.DecodeAll
	if request.Before != nil {
		if care, err = request.Before(); err != nil {
			return nil, err
		}
	}
	if care == engine.DecodeNothing {
		return nil, &engine.UnreadableError{First: request.Offset, Last: request.Offset, Err: engine.ErrDeadly}
	}
	if err := s.world.unreadable(s.partition, request.Offset); err != nil {
		return nil, err
	}
	batch := s.world.fetch(s.partition, request.Offset, 1+d.below(8), care == engine.DecodeFirst)
	if batch == nil {
		return nil, engine.ErrOutOfRange
	}
	release := batch.Release
	s.unreleased.Add(1)
	batch.Release = sync.OnceFunc(func() {
		s.unreleased.Add(-1)
		release()
	})
	if s.world.faulty(&d) {
		batch.Throttle = d.between(0, time.Second)
	}

	return batch, nil
}

func (w *world) hasRecords(p *partition, offset int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()

	return p.stable() > offset || offset > p.end
}

// fetch is a broker's answer; nil: the offset is out of range.
func (w *world) fetch(p *partition, offset int64, most int, firstBatch bool) *engine.Batch {
	w.mu.Lock()
	defer w.mu.Unlock()
	if offset < 0 || offset > p.end {
		return nil
	}
	released := make(chan struct{})
	b := &engine.Batch{
		Next: offset, HighWatermark: p.end, LastStable: p.stable(), LeaderEpoch: engine.None, Released: released,
	}
	if p.stable() > offset {
		b.Records, b.Next, b.LeaderEpoch = p.from(offset, most, firstBatch)
	}
	b.Release = func() {
		for _, r := range b.Records { // Whoever still uses them is to be found out.
			clear(r.Value)
			clear(r.Headers[0].Value)
		}
		close(released)
	}

	return b
}

// Committed implements engine.Source.
func (s *source) Committed(ctx context.Context) (engine.Committed, error) {
	if _, err := s.ask(ctx, "committed"); err != nil {
		return engine.Committed{}, err
	}
	s.world.mu.Lock()
	defer s.world.mu.Unlock()

	return s.partition.committed, nil
}

// CommitSoon implements engine.Source.
func (s *source) CommitSoon(place engine.Place) {
	s.world.checkPlace(s.partition, place)
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	s.pending = &place
}

// flush commits what is pending; it fails if the group has given the partition to somebody else.
func (s *source) flush(ctx context.Context) error {
	s.world.mu.Lock()
	place := s.pending
	s.pending = nil
	s.world.mu.Unlock()
	if place == nil {
		return nil
	}
	err := s.commit(ctx, *place)
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	if err != nil && s.pending == nil {
		s.pending = place
	}

	return err
}

func (s *source) commit(ctx context.Context, place engine.Place) error {
	d, err := s.ask(ctx, "commit")
	w := s.world
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case s.partition.run != s.run:
		return errStale
	case err == nil, !s.process.isDead() && ctx.Err() == nil && d.once(2): // Perhaps only the answer was lost.
		s.partition.committed = engine.Committed{Offset: place.Offset, Metadata: place.Metadata(""), Any: true}
	}

	return err
}

// Commit implements engine.Source.
func (s *source) Commit(ctx context.Context, place engine.Place) error {
	s.world.checkPlace(s.partition, place)
	for failed := 1; ; failed++ {
		err := s.commit(ctx, place)
		if err == nil {
			return nil
		}
		if !backoff.Sleep(ctx, engine.RetryPauses.Pause(failed)) {
			return err
		}
	}
}

// Topics implements engine.Source.
func (s *source) Topics() []engine.Topic {
	return []engine.Topic{{Name: topic, Partitions: s.world.plan.partitions}}
}

// Ends implements engine.Source.
func (s *source) Ends(ctx context.Context, _ string, partitions ...int32) (map[int32]engine.Ends, error) {
	if _, err := s.ask(ctx, "ends"); err != nil {
		return nil, err
	}
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	ends := make(map[int32]engine.Ends)
	for _, number := range partitions {
		ends[number] = engine.Ends{First: 0, Last: s.world.partitions[number].end}
	}

	return ends, nil
}

// Since implements engine.Source. Nobody asks, because all groups start at the beginning.
func (*source) Since(context.Context, string, time.Time, ...int32) (map[int32]int64, error) {
	return nil, errors.ErrUnsupported
}

// CheckTopic implements engine.Source.
func (s *source) CheckTopic(ctx context.Context) error {
	_, err := s.ask(ctx, "topic")

	return err
}

// EpochEnd implements engine.Source, as Apache Kafka's LeaderEpochFileCache does.
func (s *source) EpochEnd(ctx context.Context, epoch int32) (latest int32, end int64, err error) {
	if _, err := s.ask(ctx, "epoch"); err != nil {
		return 0, 0, err
	}
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	epochs := s.partition.epochs
	if last := epochs[len(epochs)-1]; last.number == epoch {
		return epoch, s.partition.end, nil
	}
	latest = epoch // Also of an epoch before all that are known.
	for _, known := range epochs {
		if known.number > epoch {
			return latest, known.start, nil
		}
		latest = known.number
	}

	return engine.None, engine.None, nil
}

// Copy implements engine.Source.
func (s *source) Copy(ctx context.Context, _ string, _ consume.Record) error {
	_, err := s.ask(ctx, "copy")

	return err
}
