package consume

import "time"

// EventKind says what an Event is about.
type EventKind uint8

// What happens. The comments name the fields that are set besides Topic and Partition.
const (
	EventAssigned      EventKind = iota + 1 // a partition is acquired: Offset, where it goes on
	EventRevoked                            // a partition is released
	EventFetched                            // records have come: Offset of the next, Records, Lag
	EventProcessed                          // records have taken effect: Offset of the last, Records, Duration, Lag
	EventDuplicate                          // events were processed before: Offset of the last, Records, Duration, Lag
	EventAttemptFailed                      // the handler failed and runs again: Offset, Err
	EventPaused                             // the partition stands still, told at first and once a minute: Offset, Err, why, Duration so far
	EventResumed                            // it goes on: Offset, Duration of the wait
	EventDeadLetter                         // a record is stored as a dead letter: Offset, Err
	EventParked                             // a record is stored behind a dead letter of its key: Offset
	EventReplayed                           // a dead letter is processed: Offset, Duration
	EventCommitted                          // offsets are committed to Kafka: Duration; no partition
	EventFenced                             // another owner has acquired the partition; the group has not told yet
	EventSkipped                            // records are skipped, by Config.OnOutOfRange, OnUnreadable or an operator: Offset, where it goes on; Err if a batch is unreadable
	EventRewound                            // the database went back in time: Offset of the checkpoint, Records lost and read again, Err
	EventCollision                          // an event id was processed before with another value: Offset, Err, an *idem.CollisionError
	EventThrottled                          // the client is over a quota of the broker and waits: Offset, Duration
	EventBreakerOpened                      // records fail one after the other and the partition waits (BreakerPolicy): Offset, Err
	EventBreakerClosed                      // it goes on, because a record took effect: Offset, Duration, how long it waited; EventRevoked ends the waiting too
	EventHandlerSlow                        // a handler has not returned for a minute, and each minute more: Offset, Duration so far
	EventPoolWait                           // the guard's pool has had no connection to give for 5 s while this handler ran: Offset, Duration, Err, a *PoolWaitError; no partition if none ran
)

// Event is something that a metric may want to count. See the kinds for the fields that are set.
type Event struct {
	Kind      EventKind
	Topic     string
	Partition int32
	Offset    int64
	Records   int
	Lag       int64         // records behind this one when it was fetched
	Duration  time.Duration // of the transaction, with the handler; of the commit; or of the wait
	Err       error
}
