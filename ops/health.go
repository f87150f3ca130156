package ops

import (
	"fmt"
	"math"
	"time"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/readable"
)

const (
	// indexRowBytes is what an event takes in the index: 36 bytes, in pages that are 70 % full, which
	// is what random keys come to.
	indexRowBytes = 52

	// Below these numbers there is nothing to win.
	fewDeadRows  = 10_000
	littleUnused = 1 << 30

	// overdue is how long a Cleaner, which comes every hour, may be away.
	overdue = readable.Day
	// unvacuumed is how long autovacuum, which looks every minute, may need to come.
	unvacuumed = time.Hour
)

// TableHealth says how well the room on disk is used.
type TableHealth struct {
	// LiveRows and DeadRows are estimates of the server's statistics. Dead rows are those that vacuum
	// has not removed yet.
	LiveRows       int64      `json:"live_rows"`
	DeadRows       int64      `json:"dead_rows"`
	LastVacuum     *time.Time `json:"last_vacuum"`     // by somebody; nil: not known
	LastAutovacuum *time.Time `json:"last_autovacuum"` // nil: not known
	// Bytes of table and index for each event, and what they would be without dead rows and free
	// space, by a sample; 0 without events.
	BytesPerEvent       float64 `json:"bytes_per_event"`
	PackedBytesPerEvent float64 `json:"packed_bytes_per_event"`
	// UnusedBytes are dead rows and free space, estimated. New events use it again.
	UnusedBytes int64 `json:"unused_bytes"`
}

func newTableHealth(table db.TableStateRow, rowBytes float64, events int64) TableHealth {
	h := TableHealth{
		LiveRows: table.LiveRows, DeadRows: table.DeadRows,
		LastVacuum: unless(0, table.LastVacuumMicros), LastAutovacuum: unless(0, table.LastAutovacuumMicros),
	}
	total := table.TableBytes + table.IndexBytes
	if events > 0 {
		h.BytesPerEvent = math.Round(float64(total) / float64(events))
		h.PackedBytesPerEvent = math.Round(rowBytes + indexRowBytes)
	}
	h.UnusedBytes = max(0, total-int64(h.PackedBytesPerEvent)*events)

	return h
}

// Vacuumed is when the table was vacuumed last, by whomever; zero: not known.
func (h TableHealth) Vacuumed() (last time.Time) {
	for _, t := range []*time.Time{h.LastVacuum, h.LastAutovacuum} {
		if t != nil && t.After(last) {
			last = *t
		}
	}

	return last
}

// DeadPercent is the share of the dead rows in all.
func (h TableHealth) DeadPercent() int64 { return 100 * h.DeadRows / max(h.LiveRows+h.DeadRows, 1) }

// manyDead reports whether there are so many dead rows that somebody should look.
func (h TableHealth) manyDead() bool { return h.DeadRows >= fewDeadRows && h.DeadPercent() >= 20 }

// loose reports whether at least so many bytes, and two thirds of all, are unused.
func (h TableHealth) loose(bytes int64) bool {
	return h.UnusedBytes >= bytes && h.BytesPerEvent > 3*h.PackedBytesPerEvent
}

// overdue is for how long the consumer's oldest event should be forgotten, 0 if a Cleaner can still come in time.
func (c ConsumerStatus) overdue(now time.Time) time.Duration {
	if c.Expired == 0 {
		return 0
	}
	by := now.Sub(*c.Oldest) - c.Retention.Duration()
	if by <= overdue {
		return 0
	}

	return by
}

// advise says what somebody should do. What heals by itself is not told.
func (s Status) advise() []string {
	advice := []string{}
	late := false
	for _, c := range s.Consumers {
		if c.Pause != nil {
			advice = append(advice, fmt.Sprintf("%s is %v. \"idemctl consumer resume %s\" lets it go on.", readable.Name(c.Consumer), c.Pause, readable.ShellWord(c.Consumer)))
		}
		if c.UndecidedLeases > 0 {
			advice = append(advice, fmt.Sprintf("%s of %s may have taken effect or not, and somebody has to decide: see \"idemctl lease list --state undecided\".",
				readable.Events(c.UndecidedLeases), readable.Name(c.Consumer)))
		}
		if by := c.overdue(s.ReadAt); by > 0 {
			late = true
			advice = append(advice, fmt.Sprintf("%s of %s should be forgotten, the oldest since %s: run a Cleaner in the service, or \"idemctl cleanup\".",
				readable.Events(c.Expired), readable.Name(c.Consumer), readable.Rough(by)))
		}
	}
	if late := s.Outbox.late(s.ReadAt); late > 0 {
		advice = append(advice, fmt.Sprintf("Records of the outbox wait for %s: run a relay, or see what its log says.", readable.Rough(late)))
	}
	if s.Outbox.Failed > 0 {
		advice = append(advice, fmt.Sprintf("Kafka refuses %s of the outbox: see \"idemctl outbox list\".", readable.Plural(s.Outbox.Failed, "record")))
	}
	last := s.Vacuumed()
	many := s.manyDead()
	switch {
	case many && (last.IsZero() || s.ReadAt.Sub(last) > unvacuumed):
		advice = append(advice, fmt.Sprintf("%d%% of the rows are dead, %s: see why autovacuum does not come, or run VACUUM.", s.DeadPercent(), sinceVacuum(last, s.ReadAt)))
	case many && s.DeadPercent() >= 50:
		advice = append(advice, fmt.Sprintf("%d%% of the rows are dead although a vacuum ended %s: look for long transactions and unused replication slots.",
			s.DeadPercent(), readable.Ago(last, s.ReadAt)))
	case !many && !late && s.loose(littleUnused):
		advice = append(advice, readable.Size(s.UnusedBytes)+" are unused. New events will use them; if there will not be so many again, rebuild the index and the table.")
	}

	return advice
}

func sinceVacuum(last, now time.Time) string {
	if last.IsZero() {
		return "and the table was never vacuumed (or statistics were reset)"
	}

	return "and the last vacuum was " + readable.Ago(last, now)
}
