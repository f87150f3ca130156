package history

import (
	"time"
)

// Partition is one of a topic.
type Partition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

// Place is where a record stands.
type Place struct {
	Partition

	Offset int64 `json:"offset"`
}

// Run is all that is known of a run.
type Run struct {
	Sent    []Sent   `json:"sent"`
	Entries []Entry  `json:"entries"` // of all workers, in any order
	Seen    []Seen   `json:"seen"`
	Losses  []Loss   `json:"losses"`
	Resets  []Reset  `json:"resets"`
	Log     []Record `json:"log"`
	Tables  Tables   `json:"tables"`
	Stalled string   `json:"stalled"` // what was still to be done when time was up; empty: nothing

	Elections []Election `json:"elections"` // that were unclean

	Gone []Record `json:"gone"` // what was in logs that were deleted, whatever their places. Log has what is in those that are left.

	Unfenced bool `json:"unfenced"` // there are no checkpoints: former owners may take effect
	Parked   bool `json:"parked"`   // records wait behind the dead letters of their keys: replays keep the order, too

	Published []Published `json:"published"` // what came through the outbox, in the order of its partitions. Log has it, too.
	Charges   []Charge    `json:"charges"`
}

// Record is one that readers of committed records find.
type Record struct {
	Place

	Event string `json:"event"`
	Key   string `json:"key"`
}

// Fate is what a producer knows of a record that it sent.
type Fate string

// The fates.
const (
	Acknowledged Fate = "acknowledged" // at its place; if in a transaction, that is committed
	Unsure       Fate = "unsure"       // no answer: the record is there or not
	Aborted      Fate = "aborted"      // its transaction was
)

// Sent is a record that was sent. Its place is known only if it was acknowledged.
type Sent struct {
	Record

	At       time.Time `json:"at"`
	Producer string    `json:"producer"`
	Fate     Fate      `json:"fate"`
}

// Tables are what the database holds at the end.
type Tables struct {
	Effects []Effect `json:"effects"` // in the order in which they were committed
	Letters []Letter `json:"letters"`

	// Counted is how often transactions have counted an event, which they do once for each effect.
	Counted map[string]int `json:"counted"`
}

// Effect is what a handler wrote for an event.
type Effect struct {
	Record

	Reign  string `json:"reign"`            // of the worker that wrote it
	Letter string `json:"letter,omitempty"` // the dead letter that was replayed

	// Run is the one of the handler in which it was written and published. Each has a name of its own. Empty: it was not
	// published.
	Run     string `json:"run,omitempty"`
	Receipt string `json:"receipt,omitempty"` // of the provider, if the event was charged
}

// Published is a record that came through the outbox. It says which effect it was published with.
type Published struct {
	Record

	With Effect `json:"with"`
}

// Charge is a request to the provider, who recognizes keys.
type Charge struct {
	At      time.Time `json:"at"`
	Event   string    `json:"event"`
	Attempt int64     `json:"attempt"`
	Key     string    `json:"key"`
	Receipt string    `json:"receipt"` // the same for the same key
}

// Letter is a dead letter.
type Letter struct {
	Place

	Event string `json:"event"`
	State string `json:"state"`
}

// Seen is where a partition stood at some time between the observer's question and the answer, which may be far apart where
// servers die; -1 where it saw nothing.
type Seen struct {
	Partition

	Asked      time.Time `json:"asked"`
	At         time.Time `json:"at"` // when the answer came
	Checkpoint int64     `json:"checkpoint"`
	Committed  int64     `json:"committed"` // to Kafka
}

// Loss is a time in which the database may have lost commits: from when they could be lost to when it had lost them.
type Loss struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	How  string    `json:"how"`
}

// Reset is a checkpoint that an operator set, some time in that span.
type Reset struct {
	Partition

	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Election is of a leader that lacks the last records of a partition: Kafka drops them, and gives their offsets to others.
type Election struct {
	Partition

	From time.Time `json:"from"` // when it had all records
	To   time.Time `json:"to"`   // when it led
	End  int64     `json:"end"`  // of its log: the offset behind the last record that it had
}
