// Package history decides from what everybody wrote down whether the promises were kept. It knows neither Kafka nor
// the consumer: producers write down what they sent, workers what they did, observers what they saw, and at the end
// somebody reads the logs and the tables. [Check] is a pure function of that.
//
// # The promises
//
// An event is an event id. Its effect is a row that the handler wrote in the transaction that claims it. The logs are
// what readers of committed records find in them.
//
//   - [Stalled]: once all faults are mended, all records are processed soon.
//   - [Lost]: every event of the logs has an effect, or a dead letter that waits or was discarded. A record that was
//     acknowledged, in a transaction that was not aborted, is in its log.
//   - [Doubled]: no event has two effects.
//   - [Phantom]: an effect is of a record of the logs, at the place of that record. So no record of an aborted
//     transaction has one.
//   - [Torn]: what a transaction writes besides the effect of an event stands in the tables exactly as often.
//   - [Reordered]: the effects of a key were committed in the order of their offsets. Replays of dead letters are excepted, unless records
//     of their keys are parked.
//   - [Both]: no event has an effect and a dead letter that waits or was discarded, or whose replay found the event processed.
//   - [Back]: a checkpoint goes back only where the database lost commits or an operator reset it.
//   - [Untold]: where the database lost commits and a checkpoint came to stand before an offset that the group had
//     committed, a worker said so before it was there again. Offsets from before an operator's reset, or from soon after it, are excepted: the group keeps them. So
//     are those behind which an operator has reset the checkpoint before any worker came to the partition.
//   - [Alarmed]: a worker says so only if the database lost commits, and the group has no offset of an owner from well after that. An
//     operator's reset is no loss.
//   - [Early]: an offset is committed to Kafka only when each record before it is done with: its transaction has ended
//     well, or the checkpoint was found behind it. What a new owner finds lost is not done with any more.
//   - [Usurped]: once somebody has acquired a partition, nothing of its former owners takes effect. The history of each
//     partition is that of a register: acquiring writes it, and each COMMIT reads its own name in it. Porcupine looks
//     for an order in which that is so. What the database may have lost is left out, unless it has effects at the end. Without checkpoints it is not promised. [Undecided]: it has found one, or there is none, within a minute.
//
// A handler that publishes does so in the transaction of its effect, by the outbox:
//
//   - [Lost]: what was published with an effect comes to its topic.
//   - [Phantom]: a record came through the outbox only if its transaction has committed. Where the database lost commits it
//     may have come before.
//   - [Reordered]: the events of a key come to the topic for the first time in the order of their offsets. Replays are
//     excepted.
//   - [Renamed]: an event that comes again has the same id.
//
// Some handlers have a provider charge for the event, under a lease with Rerun and the attempt's key. All rules but Recharged
// are for the time in which the database lost no commits:
//
//   - [Uncounted]: each request has an attempt of its own, whose number was stored before.
//   - [Overridden]: no attempt completes its event when a later one has begun before.
//   - [Resettled]: no event is completed twice.
//   - [Recharged]: an event is charged once, however often the provider was asked. Its effect has a receipt of the provider
//     (else it is a Phantom).
//
// An unclean election has Kafka itself lose records that it has acknowledged, and give their offsets to others. Dropped is a record that was
// acknowledged while the leader to be was not in sync, stood behind the end of its log, and is not in the log at the end. It is excepted
// from Lost, if nobody has read it, and from Phantom, if somebody has. All other rules hold for dropped records,
// too; their order is one of their own. The checkpoint may go back once where the log was cut, and no further, and its partition is
// excepted from Untold. All that is in the log at the end must have taken effect, whatever stood in its place before.
//
// Of a topic that was deleted and created again, nobody knows where its records stood: it is excepted from Back, Untold and
// Early. Lost is about the records that are left.
//
// Events that are lost in a failover are no exception: Kafka has the records, so they must take effect again. Therefore
// the tables are those at the end, after all faults have been mended and all records been processed.
//
// # What it cannot see
//
// Workers write down what they know. One that is killed between its COMMIT and its line has written nothing: its
// transaction counts as one that may have ended at any time since, so Early says less about it than about
// others, and Usurped if it has left no effect. What an observer sees was so at some time between its question and the answer. All times must come from one clock. No record may have expired from the logs.
package history
