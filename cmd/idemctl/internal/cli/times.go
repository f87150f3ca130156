package cli

import (
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// The first and the last time that JSON can hold. What PostgreSQL has before and behind, infinity
// included, is shown as these, so that one such row does not hide all others.
var (
	firstTime = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	lastTime  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// boundedTimes reads timestamps into a time.Time whatever they are.
type boundedTimes struct{ *pgtype.TimestamptzCodec }

// PlanScan is what pgx calls for the way to read a value.
func (c boundedTimes) PlanScan(types *pgtype.Map, oid uint32, format int16, target any) pgtype.ScanPlan { //nolint:ireturn // It implements pgtype.Codec.
	if _, ok := target.(*time.Time); ok {
		return boundedTime{c.TimestamptzCodec.PlanScan(types, oid, format, &pgtype.Timestamptz{})}
	}

	return c.TimestamptzCodec.PlanScan(types, oid, format, target)
}

// boundedTime reads one.
type boundedTime struct{ plan pgtype.ScanPlan }

func (p boundedTime) Scan(source []byte, target any) error {
	into, ok := target.(*time.Time)
	if !ok {
		return fmt.Errorf("cannot read a time into %T", target)
	}
	var read pgtype.Timestamptz
	if err := p.plan.Scan(source, &read); err != nil {
		return err //nolint:wrapcheck // It is pgx's own.
	}
	switch {
	case !read.Valid:
		return fmt.Errorf("cannot read null into %T", target)
	case read.InfinityModifier == pgtype.Infinity:
		*into = lastTime
	case read.InfinityModifier == pgtype.NegativeInfinity:
		*into = firstTime
	default:
		*into = bounded(read.Time)
	}

	return nil
}

// bounded is a time, or the nearest one that JSON can hold.
func bounded(t time.Time) time.Time {
	switch {
	case t.After(lastTime):
		return lastTime
	case t.Before(firstTime):
		return firstTime
	default:
		return t
	}
}
