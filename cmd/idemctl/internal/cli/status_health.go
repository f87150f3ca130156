package cli

import (
	"fmt"
	"math"
	"time"

	"github.com/nova-events/idempotent-consumer/db"
)

const (
	// indexRowBytes is what an event takes in the index: 36 bytes, in pages that are 70 % full, which
	// is what random keys come to.
	indexRowBytes = 52

	// Below these numbers there is nothing to win.
	fewDeadRows  = 10_000
	littleUnused = 1 << 30

	// overdue is how long a Cleaner, which comes every hour, may be away.
	overdue = day
	// unvacuumed is how long autovacuum, which looks every minute, may need to come.
	unvacuumed = time.Hour
)

// tableHealth says how well the room on disk is used.
type tableHealth struct {
	// LiveRows and DeadRows are estimates of the server's statistics. Dead rows are those that vacuum
	// has not removed yet.
	LiveRows       int64      `json:"live_rows"`
	DeadRows       int64      `json:"dead_rows"`
	LastVacuum     *time.Time `json:"last_vacuum"`     // by somebody; null: not known
	LastAutovacuum *time.Time `json:"last_autovacuum"` // null: not known
	// Bytes of table and index for each event, and what they would be without dead rows and free
	// space, by a sample; 0 without events.
	BytesPerEvent       float64 `json:"bytes_per_event"`
	PackedBytesPerEvent float64 `json:"packed_bytes_per_event"`
	// UnusedBytes are dead rows and free space, estimated. New events use it again.
	UnusedBytes int64 `json:"unused_bytes"`
}

func newTableHealth(state db.TableStateRow, rowBytes float64, events int64) tableHealth {
	h := tableHealth{
		LiveRows: state.LiveRows, DeadRows: state.DeadRows,
		LastVacuum: unlessEpoch(state.LastVacuum), LastAutovacuum: unlessEpoch(state.LastAutovacuum),
	}
	total := state.TableBytes + state.IndexBytes
	if events > 0 {
		h.BytesPerEvent = math.Round(float64(total) / float64(events))
		h.PackedBytesPerEvent = math.Round(rowBytes + indexRowBytes)
	}
	h.UnusedBytes = max(0, total-int64(h.PackedBytesPerEvent)*events)

	return h
}

func unlessEpoch(t time.Time) *time.Time {
	if t.Unix() == 0 {
		return nil
	}
	t = t.UTC()

	return &t
}

// vacuumed is when the table was vacuumed last, by whomever; zero: not known.
func (h tableHealth) vacuumed() (last time.Time) {
	for _, t := range []*time.Time{h.LastVacuum, h.LastAutovacuum} {
		if t != nil && t.After(last) {
			last = *t
		}
	}

	return last
}

func (h tableHealth) room() string {
	if h.BytesPerEvent == 0 {
		return "-"
	}

	return fmt.Sprintf("%.0f bytes including index; %.0f without bloat: about %s are dead rows or free space", h.BytesPerEvent, h.PackedBytesPerEvent, size(h.UnusedBytes))
}

// deadPercent is the share of the dead rows in all.
func (h tableHealth) deadPercent() int64 { return 100 * h.DeadRows / max(h.LiveRows+h.DeadRows, 1) }

func (h tableHealth) dead(now time.Time) string {
	vacuumed := "never vacuumed (or statistics were reset)"
	if last := h.vacuumed(); !last.IsZero() {
		vacuumed = "last vacuum " + ago(last, now)
	}

	return fmt.Sprintf("about %s (%d%%), %s", number(h.DeadRows), h.deadPercent(), vacuumed)
}

// advise says what somebody should do. What heals by itself is not told.
func (r statusReport) advise() []string {
	advice := []string{}
	late := false
	for _, c := range r.Consumers {
		if c.Expired == 0 {
			continue
		}
		if by := r.readAt.Sub(*c.Oldest) - time.Duration(c.Retention); by > overdue {
			late = true
			advice = append(advice, fmt.Sprintf("%s of %s should be forgotten, the oldest since %s: run a Cleaner in the service, or \"idemctl cleanup\".",
				events(c.Expired), printable(c.Consumer), rough(by)))
		}
	}
	last := r.vacuumed()
	many := r.DeadRows >= fewDeadRows && r.deadPercent() >= 20
	switch {
	case many && (last.IsZero() || r.readAt.Sub(last) > unvacuumed):
		advice = append(advice, fmt.Sprintf("%d%% of the rows are dead, %s: see why autovacuum does not come, or run VACUUM.", r.deadPercent(), sinceVacuum(last, r.readAt)))
	case many && r.deadPercent() >= 50:
		advice = append(advice, fmt.Sprintf("%d%% of the rows are dead although a vacuum ended %s: look for long transactions and unused replication slots.",
			r.deadPercent(), ago(last, r.readAt)))
	case !many && !late && r.UnusedBytes >= littleUnused && r.BytesPerEvent > 3*r.PackedBytesPerEvent:
		advice = append(advice, size(r.UnusedBytes)+" are unused. New events will use them; if there will not be so many again, rebuild the index and the table.")
	}

	return advice
}

func sinceVacuum(last, now time.Time) string {
	if last.IsZero() {
		return "and the table was never vacuumed (or statistics were reset)"
	}

	return "and the last vacuum was " + ago(last, now)
}
