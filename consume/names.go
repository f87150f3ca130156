package consume

import (
	"strconv"
	"time"
)

// nameOf is the name of a constant.
func nameOf(i uint8, names ...string) string {
	if int(i) < len(names) {
		return names[i]
	}

	return strconv.Itoa(int(i))
}

// String returns the kind in words, as "dead letter".
func (k EventKind) String() string {
	return nameOf(uint8(k),
		"none", "retry", "dead letter", "parked", "skipped", "rewound", "collision", "handler slow", "pool wait",
	)
}

// String returns the kind in words, as "former owner".
func (k PauseKind) String() string {
	return nameOf(uint8(k), "none", "transient", "Kafka", "producer", "former owner", "breaker", "operator")
}

// MarshalText returns String.
func (k PauseKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// String returns the name of the constant.
func (m Mode) String() string {
	return nameOf(uint8(m), "ByEventIDAndCheckpoint", "ByEventID", "ByCheckpoint")
}

// String returns the name of the constant, or the time as "StartAt 2026-11-26T10:15:00Z".
func (s Start) String() string {
	switch s {
	case FromEarliest:
		return "FromEarliest"
	case FromLatest:
		return "FromLatest"
	default:
		return "StartAt " + time.UnixMilli(int64(s)).UTC().Format(time.RFC3339Nano)
	}
}

// String returns the name of the constant.
func (f FailurePolicy) String() string { return nameOf(uint8(f), "StoreDeadLetter", "StopOnFailure") }

// String returns the name of the constant.
func (o OutOfRangePolicy) String() string {
	return nameOf(uint8(o), "FailOutOfRange", "SkipToEarliest", "SkipToLatest")
}

// String returns the name of the constant.
func (r RewindPolicy) String() string { return nameOf(uint8(r), "RewindToCheckpoint", "FailOnRewind") }

// String returns the name of the constant.
func (u UnreadablePolicy) String() string {
	return nameOf(uint8(u), "StopOnUnreadable", "StoreUnreadable", "SkipUnreadable")
}

// String returns the name of the constant.
func (c CollisionPolicy) String() string {
	return nameOf(uint8(c), "ReportCollision", "FailOnCollision", "IgnoreCollision")
}
