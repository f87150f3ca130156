package ops

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// teller writes down what one consumer knows of an event.
type teller struct {
	story      *Story
	consumer   string
	schemaFlag string
	places     []RecordPlace // of the event's records, each once
}

func (t *teller) addf(at time.Time, kind EntryKind, letter *toldLetter, format string, args ...any) {
	e := Entry{At: at, Consumer: t.consumer, Kind: kind, Text: fmt.Sprintf(format, args...)}
	if letter != nil {
		e.DeadLetter = &letter.ID
	}
	t.story.Entries = append(t.story.Entries, e)
}

// at notes where a record of the event stands.
func (t *teller) at(place RecordPlace) {
	if !slices.Contains(t.places, place) {
		t.places = append(t.places, place)
	}
}

// claim tells how the event became one that is processed, and when it is forgotten.
func (t *teller) claim(e Event, letters []toldLetter) {
	text := "by call " + e.ClaimID.String()
	if made, ok := madeAt(e.ClaimID); ok {
		text += ", begun " + readable.Timestamp(made) + " by its own clock"
	}
	if place, ok := e.storedPlace(); ok {
		text += "; record " + recordAt(place)
	}
	if e.Fingerprint != nil {
		text += "; fingerprint of its value " + *e.Fingerprint
	}
	marks := slices.IndexFunc(letters, func(l toldLetter) bool {
		return l.claimID.Valid && l.claimID.UUID == e.ClaimID && l.State != idem.DeadLetterReplayed
	})
	if marks >= 0 {
		l := &letters[marks]
		t.addf(e.ProcessedAt, EntryMarked, l, "Marked as processed %s. It stored dead letter %s; the handler has not taken effect.", text, l.ShortID)
	} else {
		t.addf(e.ProcessedAt, EntryProcessed, nil, "Processed %s.", text)
	}
	if d := e.operatorsDecision(); d != nil {
		t.decided(*d, "that the effect had happened")
	}
	verb := "The next cleanup forgets the event id"
	if e.ExpiresAt.Before(t.story.ToldAt) {
		verb = "Since then the event id is overdue: the next cleanup forgets it"
	}
	t.addf(e.ExpiresAt, EntryForgotten, nil, "%s (retention %s). From then on a record with this id is processed, unless the checkpoint is beyond it.", verb, readable.Duration(e.Retention))
}

// deadLetter tells how a record failed, and what became of it.
func (t *teller) deadLetter(l toldLetter) {
	stored, dated := madeAt(l.ID)
	failed := stored
	if l.FailedAt != nil {
		failed = *l.FailedAt
	}
	// By their own clocks both are times of one transaction, unless a replay has failed since.
	again := dated && failed.Sub(stored) > time.Second
	at, by := failed, ""
	if again {
		at, by = stored, ", dated by the clock of who did"
	}
	record := recordAt(l.place())
	reason := fmt.Sprintf("%s: %s", readable.Plural(int64(l.Attempts), "attempt"), readable.Name(readable.Short(l.Error)))
	switch {
	case l.requested && l.EventID != nil && *l.EventID != t.story.EventID: // Another one's, in the same place.
		t.addf(at, EntryRequested, &l, "Somebody asked for event %s to be processed again, whose record was taken to be %s, as dead letter %s%s.",
			readable.Name(readable.Short(*l.EventID)), record, l.ShortID, by)
	case l.requested:
		t.addf(at, EntryRequested, &l, "Somebody asked for the record %s to be processed again, as dead letter %s%s.", record, l.ShortID, by)
	case l.State == idem.DeadLetterParked:
		t.addf(at, EntryParked, &l, "The record %s was stored as dead letter %s without being tried, behind another one of its key%s.", record, l.ShortID, by)
	case again:
		t.addf(at, EntryFailed, &l, "The record %s was stored as dead letter %s%s.", record, l.ShortID, by)
	default:
		t.addf(at, EntryFailed, &l, "The record %s failed and was stored as dead letter %s after %s", record, l.ShortID, reason)
	}
	if again {
		t.addf(failed, EntryFailed, &l, "Dead letter %s failed for the last time, after %s", l.ShortID, reason)
	}
	if l.ResolvedAt == nil {
		t.waiting(l)
	} else {
		t.resolved(l, *l.ResolvedAt)
	}
}

func (t *teller) waiting(l toldLetter) {
	switch {
	case l.Awaits != nil:
		t.addf(t.story.ToldAt, EntryWaiting, &l, "Dead letter %s waits for dead letter %s (%s), which stands before it with the same record key.", l.ShortID, l.Awaits.ID, l.Awaits.State)
	case l.State == idem.DeadLetterReplay:
		t.addf(t.story.ToldAt, EntryWaiting, &l, "Dead letter %s is to be processed by the owner of its partition, within seconds if that runs.", l.ShortID)
	default:
		t.addf(t.story.ToldAt, EntryWaiting, &l, "Dead letter %[1]s waits for somebody to decide: \"idemctl deadletter replay %[1]s%[2]s\" or \"idemctl deadletter discard %[1]s%[2]s\".", l.ShortID, t.schemaFlag)
	}
}

func (t *teller) resolved(l toldLetter, at time.Time) {
	switch l.State {
	case idem.DeadLetterReplayed:
		t.addf(at, EntryReplayed, &l, "Dead letter %s was replayed: the handler took effect for its record.", l.ShortID)
	case idem.DeadLetterSuperseded:
		t.addf(at, EntrySuperseded, &l, "Dead letter %s was not replayed: another delivery of the event had been processed since.", l.ShortID)
	case idem.DeadLetterExpired:
		t.addf(at, EntryExpired, &l, "The record that was asked for is not in Kafka any more (dead letter %s): %s", l.ShortID, readable.Name(readable.Short(l.Error)))
	default:
		t.addf(at, EntryDiscarded, &l, "Somebody gave dead letter %s up: the handler never takes effect for its record.", l.ShortID)
	}
}

// checkpoint tells on which side of the checkpoint a record stands.
func (t *teller) checkpoint(place RecordPlace, next []int64) {
	now, partition := t.story.ToldAt, fmt.Sprintf("partition %d of %s", place.Partition, readable.Name(place.Topic))
	switch {
	case len(next) == 0:
		t.addf(now, EntryCheckpoint, nil, "There is no checkpoint of %s: the event id alone tells that the record at %d was processed.", partition, place.Offset)
	case place.Offset < next[0]:
		t.addf(now, EntryCheckpoint, nil, "The checkpoint of %s is at %d. The record at %d is before it: it is not delivered again, even when its event id is forgotten.",
			partition, next[0], place.Offset)
	default:
		t.addf(now, EntryCheckpoint, nil, "The checkpoint of %s is at %d. The record at %d is not before it: it is still to come, or comes again, and is a duplicate while its event id is known.",
			partition, next[0], place.Offset)
	}
}

// unknown is what there is to say where nothing is stored.
func unknown(s Story, consumers []Consumer) Entry {
	e := Entry{At: s.ToldAt, Kind: EntryUnknown}
	retention := "the retention"
	if len(consumers) == 1 {
		e.Consumer, retention = consumers[0].Name, readable.Duration(consumers[0].Retention.Duration())
	}
	e.Text = fmt.Sprintf("Nothing is stored for this event id, which would be kept under the key %s. Either its record has not been processed yet, or a transaction is just processing it; "+
		"or it was processed longer than %s ago and is forgotten; or the consumer makes other ids of its records, or none (Config.EventID, mode ByCheckpoint).", s.Key, retention)

	return e
}

// recordAt names a record by its place.
func recordAt(p RecordPlace) string {
	return fmt.Sprintf("at offset %d of partition %d of %s", p.Offset, p.Partition, readable.Name(p.Topic))
}

// madeAt is the time that a UUID holds, by the clock of who made it.
func madeAt(id uuid.UUID) (time.Time, bool) {
	if id.Version() != 7 {
		return time.Time{}, false
	}
	made := time.Unix(id.Time().UnixTime()).UTC()

	return made, !made.After(lastTime)
}
