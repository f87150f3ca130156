package consume

import "time"

// Health is what a consumer is doing at one moment. It is read from memory alone, so it is available at
// once even while Kafka or PostgreSQL hang. Package health makes HTTP probes of it.
type Health struct {
	At         time.Time         `json:"at"`
	State      MemberState       `json:"state"`
	Since      time.Time         `json:"since"`            // when State began
	Reason     string            `json:"reason,omitempty"` // why it is in State, if an error is the reason
	Group      string            `json:"group"`
	Member     string            `json:"member,omitempty"` // as the broker names it; empty outside of the group
	Generation int32             `json:"generation"`       // the latest; -1 before the first
	Partitions []PartitionHealth `json:"partitions"`       // those assigned, by topic and number; never nil
}

// PartitionHealth is what an assigned partition is doing.
type PartitionHealth struct {
	Topic     string         `json:"topic"`
	Partition int32          `json:"partition"`
	State     PartitionState `json:"state"`
	Since     time.Time      `json:"since"`            // when State began; for Processing, when the records did that are under way
	Pause     PauseKind      `json:"pause,omitempty"`  // what it stands still for, if it is Paused
	Reason    string         `json:"reason,omitempty"` // why it is still so, if it is Paused
	Position  int64          `json:"position"`         // all records before it are done with; -1 while it is Acquiring
	Lag       int64          `json:"lag"`              // records that were there to come when it was last fetched; -1 if not known
	// Handler is when the oldest handler began that runs now; zero if none does.
	Handler time.Time `json:"handler,omitzero"`
	// LastSuccess is when a transaction was committed last, or the partition acquired; zero before.
	LastSuccess time.Time `json:"last_success,omitzero"`
}

// MemberState is the state of a consumer in its group.
type MemberState uint8

const (
	// NotRunning is before Run and after it.
	NotRunning MemberState = iota

	// Starting is while the consumer waits for PostgreSQL, Kafka or the topics.
	Starting

	// Joining is while the group assigns its partitions, at the start and at each rebalance.
	Joining

	// Joined is while the member has its partitions, or knows that there are none for it.
	Joined

	// Leaving is while the consumer finishes what it has begun, because Run is to end.
	Leaving
)

// PartitionState says what an assigned partition is doing.
type PartitionState uint8

const (
	// Acquiring is until this member owns the partition's checkpoint.
	Acquiring PartitionState = iota

	// Idle is while there is no record to process.
	Idle

	// Processing is while records are processed.
	Processing

	// Paused is while the partition stands still though there may be records: something failed and is tried
	// again, or is waited for, or an operator has paused the consumer (PauseOperator). Hooks.Pause tells of the same.
	Paused
)

// String returns the state in a word.
func (s MemberState) String() string {
	return nameOf(uint8(s), "not running", "starting", "joining", "joined", "leaving")
}

// MarshalText returns String.
func (s MemberState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String returns the state in a word.
func (s PartitionState) String() string {
	return nameOf(uint8(s), "acquiring", "idle", "processing", "paused")
}

// MarshalText returns String.
func (s PartitionState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
