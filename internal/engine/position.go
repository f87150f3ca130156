package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/offsetmark"
)

// acquire makes this member the owner of the partition, also in PostgreSQL, and returns where to go
// on. The checkpoint decides: effects, claims and checkpoint are lost together or not at all. The
// group's offset counts only where there is no checkpoint, or where somebody else has committed it.
func (w *worker) acquire(revoked context.Context) (int64, error) {
	var group Committed
	err := w.askBroker(revoked, "read the group's offsets", func() error {
		var err error
		group, err = w.source.Committed(revoked)

		return err
	})
	if err != nil || revoked.Err() != nil {
		return 0, err
	}
	if w.config.Mode == consume.ByEventID && !offsetmark.HasToken(group.Metadata) {
		return w.startWithoutCheckpoint(revoked, group)
	}
	if w.config.Mode == consume.ByEventID {
		// The mode was another one until now. For the last time the checkpoint knows better.
		defer func() { w.owner = w.guard.Unfenced(w.partition) }()
	}
	if err := w.own(revoked, func() (int64, error) { return w.firstOffset(revoked, group) }); err != nil || revoked.Err() != nil {
		return 0, err
	}

	return w.reconcile(revoked, group)
}

// own acquires the partition in PostgreSQL. start says where it begins if it has no checkpoint. Nothing
// is said if the partition is revoked meanwhile. A checkpoint of another topic is out of the range of this one.
func (w *worker) own(revoked context.Context, start func() (int64, error)) error {
	err := w.persist(revoked, "acquire the partition", func() error {
		var former standstill
		defer former.end(false)
		owner, err := w.guard.Acquire(revoked, w.partition, idem.AcquireOptions{
			Patience: w.config.DrainTimeout, WithoutEventIDs: w.config.Mode == consume.ByCheckpoint,
			Start: func(context.Context) (int64, error) { return start() },
			Waiting: func(reason error) {
				former.begin(revoked, w, w.stands(consume.PauseFormerOwner, None, reason))
			},
		})
		if err == nil {
			former.end(true)
			w.owner = owner
		}

		return err
	})
	if err == nil {
		err = w.readParked(revoked)
	}
	switch {
	case err != nil && revoked.Err() == nil:
		return fmt.Errorf("consume: acquire %v: %w", w.partition, err)
	case err == nil && w.owner.Recreated():
		return &outOfRangeError{offset: w.owner.Next(), truncated: None}
	default:
		return nil
	}
}

// reconcile compares the checkpoint with the group's offset and returns where to go on.
func (w *worker) reconcile(revoked context.Context, group Committed) (int64, error) {
	next := w.owner.Next()
	reset := w.owner.ResetSince(offsetmark.Epoch(group.Metadata))
	if reset {
		w.log.InfoContext(revoked, "consume: the checkpoint was set, by an operator or because the log had changed", "checkpoint", next, "group", group.Offset)
	}
	switch {
	case w.owner.IsNew():
		w.start = next
		if w.config.Mode == consume.ByCheckpoint && offsetmark.HasNoToken(group.Metadata) {
			w.log.WarnContext(revoked, "consume: the mode was ByEventID: what it has processed beyond the group's offset, in lanes or before a crash, is processed again", "offset", next)
		}
	case group.Offset == None, group.Offset == next:
	case offsetmark.HasToken(group.Metadata) && group.Offset > next && !reset:
		return next, w.rewound(revoked, group.Offset, fmt.Errorf("%w: the checkpoint of %v was at %d and is at %d", idem.ErrRewound, w.partition, group.Offset, next))
	case offsetmark.HasToken(group.Metadata): // Or the commit to Kafka comes later, and a crash has come between.
	case group.Offset > next:
		w.log.WarnContext(revoked, "consume: the group was moved forward by others, an operator or another client that has processed the records: going on there", "checkpoint", next, "group", group.Offset)

		return group.Offset, w.moveTo(revoked, group.Offset, None, false)
	default:
		w.log.WarnContext(revoked, "consume: an operator has moved the group back, but the checkpoint decides; to process the records again run: "+
			fmt.Sprintf("idemctl checkpoint reset --consumer %q --topic %q --partition %d --to %d", w.guard.Consumer(), w.partition.Topic, w.partition.Number, group.Offset),
			"checkpoint", next, "group", group.Offset)
	}
	if err := w.checkEpoch(revoked); err != nil {
		return 0, err
	}
	w.done(next) // Else the group seems to be elsewhere until the next record comes.

	return next, nil
}

// rewound tells that the database has lost its latest commits, up to those of the record before
// last. Kafka still has the records: the partition goes on at the checkpoint.
func (w *worker) rewound(revoked context.Context, last int64, err error) error {
	next := w.owner.Next()
	if w.config.OnDatabaseRewind == consume.FailOnRewind {
		return fmt.Errorf("consume: %w (%w); find out which commits are lost, then let Config.OnDatabaseRewind read the records again or move the checkpoint (idemctl checkpoint reset)", err, errFinal)
	}
	w.log.ErrorContext(revoked, "consume: the database has lost its latest commits, reading again from the checkpoint", "checkpoint", next, "was", last, "error", err)
	w.tell(revoked, next, consume.Event{Kind: consume.EventRewound, Records: int(max(0, last-next)), Err: err})
	w.done(next)

	return nil
}

// rewind begins anew at the checkpoint, because the database has lost commits of this owner.
func (w *worker) rewind(revoked context.Context, cause error) (int64, error) {
	last := w.owner.Next()
	w.suspect = newSuspicion()
	if err := w.own(revoked, func() (int64, error) { return 0, w.gone(last) }); err != nil || revoked.Err() != nil {
		return 0, err
	}

	return w.owner.Next(), w.rewound(revoked, last, cause)
}

// firstOffset returns where a partition begins that has no checkpoint.
func (w *worker) firstOffset(revoked context.Context, group Committed) (int64, error) {
	switch {
	case offsetmark.HasToken(group.Metadata):
		return 0, w.gone(group.Offset)
	case group.Offset != None:
		return group.Offset, nil
	case w.config.Start == consume.FromEarliest:
		return w.logStart(revoked)
	}
	if err := w.noteStarts(revoked, group); err != nil {
		return 0, err
	}
	// The note of this partition counts more. If it has none it was added since, and nobody has seen what
	// it holds.
	return w.logStart(revoked)
}

// noteStarts has the tables know where the group begins, in all partitions of its topics at once, so that one that is added
// later is known to be new. There may be thousands of topics: one worker asks for all.
func (w *worker) noteStarts(revoked context.Context, group Committed) error {
	topics := w.source.Topics()
	if len(topics) == 1 {
		return w.noteStartsIn(revoked, group, topics)
	}
	select {
	case w.engine.begins <- struct{}{}:
		defer func() { <-w.engine.begins }()
	case <-revoked.Done():
		return revoked.Err()
	}
	if w.engine.begun {
		return nil
	}
	err := w.noteStartsIn(revoked, group, topics)
	w.engine.begun = err == nil

	return err
}

// noteStartsIn notes where the group begins in topics, unless it has begun in any of them.
func (w *worker) noteStartsIn(revoked context.Context, group Committed, topics []Topic) error {
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Name
	}
	known, err := w.guard.Starts(revoked, w.partition, names...)
	if err != nil || known.Known || group.Any {
		return err
	}
	starts := make([]idem.TopicStarts, len(topics))
	for i, t := range topics {
		numbers := make([]int32, t.Partitions)
		for i := range numbers {
			numbers[i] = int32(i)
		}
		offsets, err := w.starts(revoked, t.Name, numbers...)
		if err != nil || revoked.Err() != nil {
			return errors.Join(err, revoked.Err())
		}
		starts[i] = idem.TopicStarts{Topic: t.Name, TopicID: t.ID, Offsets: offsets}
	}

	return w.guard.InsertStarts(revoked, starts...)
}

// starts returns where Config.Start, which is not consume.FromEarliest, lets the group begin in a topic. The ends of the
// log are asked for first: what comes meanwhile does not end up before them.
func (w *worker) starts(revoked context.Context, topic string, numbers ...int32) (map[int32]int64, error) {
	starts := make(map[int32]int64, len(numbers))
	err := w.askBroker(revoked, "find where to start", func() error {
		ends, err := w.source.Ends(revoked, topic, numbers...)
		for number, p := range ends {
			starts[number] = p.Last
		}
		if err != nil || w.config.Start == consume.FromLatest {
			return err
		}
		since, err := w.source.Since(revoked, topic, time.UnixMilli(int64(w.config.Start)), numbers...)
		for number, offset := range since {
			if offset != None {
				starts[number] = offset
			}
		}

		return err
	})

	return starts, err
}

func (w *worker) logStart(revoked context.Context) (int64, error) {
	var first int64
	err := w.askBroker(revoked, "find the beginning of the log", func() error {
		var err error
		first, _, err = w.ends(revoked)

		return err
	})

	return first, errors.Join(err, revoked.Err())
}

// gone is the error for a partition that has no checkpoint although it once had one.
func (w *worker) gone(offset int64) error {
	return fmt.Errorf("%w: the group %q has come to offset %d of %v with a checkpoint; if the tables are in another database or schema, "+
		"correct the connection; if the consumer's name was changed, move what it has under the former one (idemctl consumer rename); if they were made anew on purpose, say where to go on with kafka-consumer-groups.sh --reset-offsets "+
		"(--to-current goes on where the group has come, which may be a second behind what took effect; --to-earliest reads all again)", idem.ErrCheckpointGone, w.engine.group, offset, w.partition)
}

// startWithoutCheckpoint returns where to go on in mode consume.ByEventID, in which only the group knows.
func (w *worker) startWithoutCheckpoint(revoked context.Context, group Committed) (int64, error) {
	offset, err := group.Offset, error(nil)
	if offset != None {
		w.suspectLoss(revoked, group)
	} else if offset, err = w.newOffset(revoked, group); err == nil {
		w.start = offset
		// Else the next owner would start somewhere else, and records between the two places would
		// be lost.
		err = w.source.Commit(revoked, w.place(offset))
	}
	if err == nil {
		err = w.endNote(revoked)
	}
	switch {
	case revoked.Err() != nil:
		return 0, nil //nolint:nilerr // It no longer matters.
	case err != nil:
		return 0, fmt.Errorf("consume: start %v: %w", w.partition, err)
	default:
		return offset, nil
	}
}

// newOffset returns where a partition begins of which Kafka has no offset.
func (w *worker) newOffset(revoked context.Context, group Committed) (int64, error) {
	if w.config.Start == consume.FromEarliest {
		return w.logStart(revoked)
	}
	if err := w.persist(revoked, "note where the group begins", func() error { return w.noteStarts(revoked, group) }); err != nil {
		return 0, err
	}
	known, err := w.noted(revoked)
	switch {
	case err != nil:
		return 0, err
	case known.Offset != None:
		return known.Offset, nil
	case group.Any || known.Noted || !known.Known: // The group has begun, and the partition, or the topic, was added since.
		return w.logStart(revoked)
	default: // The group has begun once, and Kafka has forgotten all its offsets.
		starts, err := w.starts(revoked, w.partition.Topic, w.partition.Number)

		return starts[w.partition.Number], errors.Join(err, revoked.Err())
	}
}

// endNote ends the note of the partition's start, which Kafka knows now: nobody is to begin there again when Kafka has forgotten
// the group's offsets. Should this owner not come to it, the next one does.
func (w *worker) endNote(revoked context.Context) error {
	if w.config.Start == consume.FromEarliest {
		return nil
	}
	known, err := w.noted(revoked)
	if err != nil || known.Offset == None {
		return err
	}
	defer func() { w.owner = w.guard.Unfenced(w.partition) }()

	return w.own(revoked, func() (int64, error) { return known.Offset, nil })
}

// noted asks the tables, until they answer, where the group has begun in the topic.
func (w *worker) noted(revoked context.Context) (known idem.Starts, err error) {
	err = w.persist(revoked, "find where the group has begun", func() error {
		known, err = w.guard.Starts(revoked, w.partition, w.partition.Topic)

		return err
	})

	return known, errors.Join(err, revoked.Err())
}

// place is an offset of the partition as it is committed to Kafka.
func (w *worker) place(offset int64) Place {
	return Place{Offset: offset, LeaderEpoch: w.owner.LeaderEpoch(), Token: w.owner.Token(), Epoch: w.owner.Epoch()}
}
