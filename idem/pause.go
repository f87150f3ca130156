package idem

import (
	"context"
	"time"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// Pause says since when, by whom and why a consumer is paused.
type Pause struct {
	At     time.Time `json:"at"`     // by the database's clock
	By     string    `json:"by"`     // as "alice (ops@host-1)": the name that was given, and the database's role on its host
	Reason string    `json:"reason"` // may be empty
}

// String says it in words, as "paused since 2026-11-26 10:15:00Z by alice (ops@host-1): deploy".
func (p Pause) String() string {
	text := "paused since " + readable.Timestamp(p.At) + " by " + readable.Name(p.By)
	if p.Reason != "" {
		text += ": " + readable.Name(p.Reason)
	}

	return text
}

// Paused returns the pause of the consumer, or nil if it is not paused ("idemctl consumer pause"). Those who
// read from Kafka obey by themselves; the guard's other methods work in a pause, too.
func (g *Guard) Paused(ctx context.Context) (pause *Pause, err error) {
	err = g.onPool(ctx, func(conn db.DBTX) error {
		rows, err := g.queries.ConsumerPaused(ctx, conn, g.consumer)
		for _, row := range rows {
			pause = &Pause{At: time.UnixMicro(row.PausedMicros).UTC(), By: row.PausedBy, Reason: row.PauseReason}
		}

		return err
	})

	return pause, err
}
