-------------------------------- MODULE idem --------------------------------
(* How a group's consumers process a partition, although handlers, processes, connections, the group and the *)
(* database fail. docs/model.md says what of it is here and what is not.                                     *)
EXTENDS Naturals, Sequences

CONSTANTS
    Mode,       \* consume.Mode
    Records,    \* two, or three with a duplicate
    Faults,     \* how many faults there are at most
    Kinds,      \* which
    Without     \* the mechanism that is switched off, or "nothing"

Mechanisms == {
    "ClaimFirst",           \* an event is claimed before its handler runs
    "ClaimInTransaction",   \* an event is claimed in its handler's transaction
    "OutcomeLookedUp",      \* what a COMMIT without an answer did is looked up
    "OutcomeWaits",         \* it is looked up when its transaction has ended
    "OutcomeByClaim",       \* it is told by the id of the claim
    "LetterWithMark",       \* a dead letter is stored in the transaction that marks its event
    "OffsetAfterCommit",    \* an offset is committed to Kafka after the transaction
    "OffsetHasToken",       \* an offset is committed with the token of the checkpoint's owner
    "OffsetOfGeneration",   \* only the group's present member commits an offset
    "CheckpointDecides",    \* an owner starts at the checkpoint, not at the group's offset
    "CheckpointCompared",   \* the checkpoint moves only from where its owner last saw it
    "TokenCompared",        \* only its owner moves the checkpoint
    "TokenReadAtOnce",      \* a former owner does not wait for transactions to learn that it is one
    "TokenRandom",          \* no token is used twice
    "PartitionHeld",        \* transactions hold the partition, and a new owner waits for them
    "HoldersEnded",         \* a new owner ends the sessions of transactions that do not end
    "ReadsAgain",           \* an owner whose database went back reads again from the checkpoint
    "IdleVerified",         \* an owner without records looks whether the database went back
    "DuplicatesPassed",     \* the checkpoint is advanced over duplicates
    "ResetTakesToken",      \* an operator's reset takes the checkpoint from its owner
    "ResetRemembered"       \* offsets say their owner's epoch, and a checkpoint the one in which it was set
}
ASSUME Without \in Mechanisms \cup {"nothing"}
Has(mechanism) == Without # mechanism

HasIDs == Mode # "ByCheckpoint"
HasCheckpoint == Mode # "ByEventID"

Consumers == {1, 2}
Nobody == 0
Events == {"a", "b"}
Log == SubSeq(<<"a", "b", "a">>, 1, Records)
EventAt(offset) == Log[offset + 1]
Offsets == 0..(Len(Log) - 1)

VARIABLES
    db,         \* what is committed
    standby,    \* "follows", "lags" (what it lacks then is lost by a failover) or "promoted"
    tx,         \* the open transaction of each consumer
    group,      \* the group's offset
    member,     \* who has the partition in the group, and whether that consumer has joined since
    worker,     \* what each consumer knows
    faults,     \* how many there have been
    ghost,      \* what only the properties know
    said        \* what has just happened, in words
vars == <<db, standby, tx, group, member, worker, faults, ghost>>

NoTx == [kind |-> "none", offset |-> 0]
Out == [at |-> "out", pos |-> 0, seen |-> 0, token |-> Nobody, epoch |-> 0, kind |-> "effect", read |-> 0, readToken |-> FALSE, readEpoch |-> 0, call |-> "none"]
Empty == [cp |-> 0, owner |-> Nobody, token |-> Nobody, epoch |-> 0, reset |-> 0, claim |-> [e \in Events |-> Nobody],
          effects |-> [e \in Events |-> 0], letters |-> [e \in Events |-> 0]]

Init ==
    /\ db = Empty
    /\ standby = [state |-> "follows", db |-> Empty]
    /\ tx = [c \in Consumers |-> NoTx]
    /\ group = [offset |-> 0, hasToken |-> FALSE, epoch |-> 0]
    /\ member = [is |-> 1, joined |-> FALSE]
    /\ worker = [c \in Consumers |-> Out]
    /\ faults = 0
    /\ ghost = [high |-> 0, lie |-> FALSE, falseAlarm |-> FALSE, falseStart |-> FALSE, again |-> {}]
    /\ said = ""

Fault(kind) == kind \in Kinds /\ faults < Faults /\ faults' = faults + 1
Say(c, what) == said' = <<c, what>>
Become(c, w) == worker' = [worker EXCEPT ![c] = w]
IsMember(c) == member.is = c /\ member.joined
Open(c) == tx[c] # NoTx

\* Who waits for transactions: those that advance the checkpoint or acquire it, and those that claim the same event.
PartitionFree == HasCheckpoint /\ Has("PartitionHeld") => \A d \in Consumers : ~Open(d)
EventFree(e) == HasIDs /\ Has("ClaimFirst") => \A d \in Consumers : ~(Open(d) /\ EventAt(tx[d].offset) = e)

\* A worker behind its record: a duplicate, or one that it has committed.
Behind(w) == [w EXCEPT !.at = "ready", !.pos = w.pos + 1, !.kind = "effect", !.call = "none"]
Passed(w) == [Behind(w) EXCEPT !.seen = IF HasCheckpoint THEN w.pos + 1 ELSE 0]

Higher(g, cp) == [g EXCEPT !.high = IF cp > @ THEN cp ELSE @]
Alarm(g) == [g EXCEPT !.falseAlarm = @ \/ standby.state # "promoted"]

-----------------------------------------------------------------------------
(* The group *)

Join(c) ==
    /\ member' = [member EXCEPT !.joined = TRUE]
    /\ Become(c, [Out EXCEPT !.at = "joined", !.read = group.offset, !.readToken = group.hasToken, !.readEpoch = group.epoch])
    /\ Say(c, "joins the group")
    /\ UNCHANGED <<db, standby, tx, group, faults, ghost>>

\* The consumer finds out that the partition is not its own any more.
Notice(c) ==
    /\ Become(c, Out)
    /\ Say(c, "hears that it has lost the partition")
    /\ UNCHANGED <<db, standby, tx, group, member, faults, ghost>>

\* internal/engine/position.go, reconcile
Start(w) ==
    IF w.at = "rewound" THEN IF Has("ReadsAgain") THEN db.cp ELSE w.pos
    ELSE IF ~Has("CheckpointDecides") THEN w.read
    ELSE IF w.read > db.cp /\ ~w.readToken THEN w.read
    ELSE db.cp
SeesLoss(w) ==
    /\ w.at = "joined" /\ w.read > db.cp /\ w.readToken
    /\ IF Has("ResetRemembered") THEN w.readEpoch >= db.reset ELSE db.token # Nobody

NewToken ==
    IF Has("TokenRandom")
    THEN LET used == {db.token, standby.db.token} \cup {worker[d].token : d \in Consumers}
         IN CHOOSE t \in 1..5 : t \notin used /\ \A u \in 1..(t - 1) : u \in used
    ELSE db.token + 1

\* idem/acquire.go. A new owner waits for the transactions that hold the partition, or ends their sessions. (Whoever begins one
\* meanwhile queues for the lock behind the new owner.)
Acquire(c) ==
    /\ HasCheckpoint
    /\ PartitionFree \/ Has("HoldersEnded")
    /\ tx' = IF Has("PartitionHeld") THEN [d \in Consumers |-> NoTx] ELSE tx
    /\ LET w == worker[c]
           start == Start(w)
           cp == IF Has("CheckpointDecides") /\ w.at = "joined" THEN start ELSE db.cp
           token == NewToken
       IN /\ db' = [db EXCEPT !.owner = c, !.token = token, !.epoch = @ + 1, !.cp = cp]
          /\ Become(c, [Out EXCEPT !.at = "ready", !.pos = start, !.seen = cp, !.token = token, !.epoch = db.epoch + 1])
          /\ ghost' = [Higher(ghost, cp) EXCEPT !.falseStart = @ \/ (SeesLoss(w) /\ standby.state # "promoted")]
          /\ Say(c, (IF PartitionFree THEN "" ELSE "ends a session that holds the partition, ")
                    \o (IF SeesLoss(w) THEN "acquires the partition and tells that the database has lost commits" ELSE "acquires the partition"))
    /\ UNCHANGED <<standby, group, member, faults>>

\* The same in mode ByEventID: startWithoutCheckpoint.
StartAtOffset(c) ==
    /\ ~HasCheckpoint
    /\ Become(c, [Out EXCEPT !.at = "ready", !.pos = worker[c].read])
    /\ Say(c, "starts at the group's offset")
    /\ UNCHANGED <<db, standby, tx, group, member, faults, ghost>>

\* internal/engine/partition.go, reach
CommitOffset(c) ==
    /\ Has("OffsetOfGeneration") => IsMember(c)
    /\ LET w == worker[c]
           early == ~Has("OffsetAfterCommit") /\ w.at = "handling"
           to == [offset |-> IF early THEN w.pos + 1 ELSE w.pos, hasToken |-> HasCheckpoint /\ Has("OffsetHasToken"), epoch |-> w.epoch]
       IN /\ HasCheckpoint => early \/ w.seen >= w.pos
          /\ group # to
          /\ group' = to
    /\ Say(c, "commits its offset to Kafka")
    /\ UNCHANGED <<db, standby, tx, member, worker, faults, ghost>>

-----------------------------------------------------------------------------
(* A record *)

\* What a statement finds that advances the checkpoint. idem/owner.go, judge
Finds(w) ==
    IF ~HasCheckpoint THEN "its place"
    ELSE IF Has("TokenCompared") /\ db.token # w.token THEN "another owner"
    ELSE IF Has("CheckpointCompared") /\ db.cp < w.seen THEN "lost commits"
    ELSE IF db.cp > w.seen THEN "its own COMMIT"
    ELSE "its place"

\* ErrFenced or ErrRewound, of the next transaction, or of Verify where there is none.
Disowned(c) ==
    /\ IF worker[c].pos < Len(Log) \/ worker[c].seen < worker[c].pos
       THEN Has("TokenReadAtOnce") \/ PartitionFree
       ELSE Has("IdleVerified")
    /\ \/ /\ Finds(worker[c]) = "another owner"
          /\ Become(c, Out)
          /\ Say(c, "finds another owner")
          /\ UNCHANGED ghost
       \/ /\ Finds(worker[c]) = "lost commits"
          /\ Become(c, [worker[c] EXCEPT !.at = "rewound"])
          /\ Say(c, "finds that the database has lost commits")
          /\ ghost' = Alarm(ghost)
    /\ UNCHANGED <<db, standby, tx, group, member, faults>>

\* An earlier COMMIT of its own, which had no answer, took effect. idem/checkpoint.go
CatchUp(c) ==
    /\ Finds(worker[c]) = "its own COMMIT" /\ PartitionFree
    /\ LET w == worker[c]
       IN /\ Become(c, [(IF db.cp > w.pos THEN Behind(w) ELSE w) EXCEPT !.seen = db.cp])
          /\ ghost' = [ghost EXCEPT !.lie = @ \/ (db.cp > w.pos /\ w.call = "committed")]
    /\ Say(c, "finds its checkpoint further on, and takes the record for a duplicate")
    /\ UNCHANGED <<db, standby, tx, group, member, faults>>

\* BEGIN; the checkpoint is advanced and the event claimed.
Begin(c) ==
    /\ worker[c].pos < Len(Log) /\ ~Open(c) /\ Finds(worker[c]) = "its place"
    /\ PartitionFree /\ EventFree(EventAt(worker[c].pos))
    /\ LET w == worker[c]
           e == EventAt(w.pos)
       IN IF HasIDs /\ db.claim[e] # Nobody
          THEN /\ Become(c, Behind(w))
               /\ Say(c, "finds a duplicate")
               /\ ghost' = [ghost EXCEPT !.lie = @ \/ w.call = "committed"]
               /\ UNCHANGED <<db, tx>>
          ELSE /\ Become(c, [w EXCEPT !.at = "handling", !.call = "begun"])
               /\ Say(c, IF w.kind = "letter" THEN "begins to store the record as a dead letter" ELSE "begins with a record")
               /\ tx' = [tx EXCEPT ![c] = [kind |-> w.kind, offset |-> w.pos]]
               /\ db' = [db EXCEPT !.claim[e] = IF HasIDs /\ ~Has("ClaimInTransaction") THEN c ELSE @]
               /\ UNCHANGED ghost
    /\ UNCHANGED <<standby, group, member, faults>>

Commits(c) ==
    /\ LET e == EventAt(tx[c].offset)
           letter == tx[c].kind = "letter"
       IN db' = [db EXCEPT
            !.cp = IF HasCheckpoint THEN tx[c].offset + 1 ELSE @,
            !.claim[e] = IF HasIDs /\ @ = Nobody THEN c ELSE @,
            !.effects[e] = IF letter THEN @ ELSE @ + 1,
            !.letters[e] = IF letter /\ Has("LetterWithMark") THEN @ + 1 ELSE @]
    /\ tx' = [tx EXCEPT ![c] = NoTx]
    /\ ghost' = Higher(ghost, IF HasCheckpoint THEN tx[c].offset + 1 ELSE 0)

Commit(c) ==
    /\ Open(c) /\ Commits(c)
    /\ Become(c, [Passed(worker[c]) EXCEPT !.at = IF worker[c].kind = "letter" /\ ~Has("LetterWithMark") THEN "storing" ELSE "ready"])
    /\ Say(c, "commits its transaction")
    /\ UNCHANGED <<standby, group, member, faults>>

\* Only without LetterWithMark.
Store(c) ==
    /\ db' = [db EXCEPT !.letters[EventAt(worker[c].pos - 1)] = @ + 1]
    /\ Become(c, [worker[c] EXCEPT !.at = "ready"])
    /\ Say(c, "stores the dead letter")
    /\ UNCHANGED <<standby, tx, group, member, faults, ghost>>

\* The transaction was ended before its COMMIT: another attempt.
Retry(c) ==
    /\ ~Open(c)
    /\ Become(c, [worker[c] EXCEPT !.at = "ready", !.call = "none"])
    /\ Say(c, "finds its transaction ended")
    /\ UNCHANGED <<db, standby, tx, group, member, faults, ghost>>

\* What a COMMIT without an answer did. idem/claim.go, resolve
Answer(c, w, claim) ==
    IF ~Has("OutcomeLookedUp") THEN "processed"
    ELSE IF ~HasIDs THEN
        IF Finds(w) \in {"another owner", "lost commits"} THEN Finds(w)
        ELSE IF db.cp > w.pos THEN "processed" ELSE "not found"
    ELSE IF claim = Nobody THEN "not found"
    ELSE IF claim = c \/ ~Has("OutcomeByClaim") THEN "processed"
    ELSE "already processed"
Ended(c) == PartitionFree /\ EventFree(EventAt(worker[c].pos))
Resolve(c) ==
    /\ Has("OutcomeLookedUp") /\ Has("OutcomeWaits") => Ended(c)
    /\ LET w == worker[c]
           answer == Answer(c, w, db.claim[EventAt(w.pos)])
       IN /\ Become(c, CASE answer = "processed" -> Passed(w)
                         [] answer = "already processed" -> Behind(w)
                         [] answer = "not found" -> [w EXCEPT !.at = "ready"]
                         [] answer = "lost commits" -> [w EXCEPT !.at = "rewound"]
                         [] answer = "another owner" -> Out)
          /\ ghost' = [(IF answer = "lost commits" THEN Alarm(ghost) ELSE ghost)
                EXCEPT !.lie = @ \/ (answer = "processed" /\ w.call # "committed") \/ (answer = "already processed" /\ w.call = "committed")]
          /\ Say(c, IF Has("OutcomeLookedUp") THEN "looks up what its COMMIT did: " \o answer ELSE "takes it for committed")
    /\ UNCHANGED <<db, standby, tx, group, member, faults>>

\* ErrOutcomeUnknown, after RetryPolicy.ResolveTimeout; then another call.
GiveUp(c) ==
    /\ Has("OutcomeLookedUp") /\ Has("OutcomeWaits") /\ ~Ended(c)
    /\ Become(c, [worker[c] EXCEPT !.at = "ready", !.call = "none"])
    /\ Say(c, "does not learn in time what its COMMIT did")
    /\ UNCHANGED <<db, standby, tx, group, member, faults, ghost>>

\* idem/owner.go, Advance
Advance(c) ==
    /\ HasCheckpoint /\ Has("DuplicatesPassed") /\ worker[c].seen < worker[c].pos
    /\ Finds(worker[c]) = "its place" /\ PartitionFree
    /\ db' = [db EXCEPT !.cp = worker[c].pos]
    /\ Become(c, [worker[c] EXCEPT !.seen = worker[c].pos])
    /\ ghost' = Higher(ghost, worker[c].pos)
    /\ Say(c, "advances the checkpoint over duplicates")
    /\ UNCHANGED <<standby, tx, group, member, faults>>

-----------------------------------------------------------------------------
(* What fails *)

\* A handler has used up its attempts: the record becomes a dead letter.
Fail(c) ==
    /\ Fault("Fail") /\ Open(c) /\ worker[c].kind = "effect"
    /\ tx' = [tx EXCEPT ![c] = NoTx]
    /\ Become(c, [worker[c] EXCEPT !.at = "ready", !.kind = "letter", !.call = "none"])
    /\ Say(c, "has a handler that fails for good")
    /\ UNCHANGED <<db, standby, group, member, ghost>>

\* The connection is lost during COMMIT, and the transaction is left to the server.
LoseAnswer(c) ==
    /\ Fault("LoseAnswer") /\ Open(c)
    /\ Become(c, [worker[c] EXCEPT !.at = "unknown"])
    /\ Say(c, "gets no answer to its COMMIT")
    /\ UNCHANGED <<db, standby, tx, group, member, ghost>>

\* The process ends; its transaction is left to the server.
Crash(c) ==
    /\ Fault("Crash") /\ IsMember(c)
    /\ Become(c, Out)
    /\ Say(c, "crashes")
    /\ UNCHANGED <<db, standby, tx, group, member, ghost>>

LateEnd(c) ==
    \/ /\ Commits(c)
       /\ worker' = [worker EXCEPT ![c].call = IF @ = "begun" THEN "committed" ELSE @]
       /\ Say(c, "left a transaction, which commits now")
       /\ UNCHANGED <<standby, group, member, faults>>
    \/ /\ tx' = [tx EXCEPT ![c] = NoTx]
       /\ Say(c, "left a transaction, which is rolled back now")
       /\ UNCHANGED <<db, standby, group, member, worker, faults, ghost>>

\* The former member does not know it, and may go on.
Rebalance ==
    /\ Fault("Rebalance")
    /\ member' = [is |-> 3 - member.is, joined |-> FALSE]
    /\ Say(3 - member.is, "is given the partition by the group")
    /\ UNCHANGED <<db, standby, tx, group, worker, ghost>>

Lag ==
    /\ "Failover" \in Kinds /\ standby.state = "follows"
    /\ standby' = [state |-> "lags", db |-> db]
    /\ Say(Nobody, "the standby gets no further commits")
    /\ UNCHANGED <<db, tx, group, member, worker, faults, ghost>>
HasCommitted(d, c) == IF HasIDs THEN d.claim[EventAt(worker[c].pos)] = c ELSE d.cp > worker[c].pos
Failover ==
    /\ Fault("Failover") /\ standby.state = "lags"
    /\ db' = standby.db
    /\ standby' = [state |-> "promoted", db |-> Empty]
    /\ tx' = [c \in Consumers |-> NoTx]
    /\ worker' = [c \in Consumers |-> [worker[c] EXCEPT !.call = IF @ = "committed" /\ ~HasCommitted(standby.db, c) THEN "none" ELSE @]]
    /\ Say(Nobody, "the standby takes over")
    /\ UNCHANGED <<group, member, ghost>>

\* The retention of an event is over. It is longer than the way from its first record to its last, and than it takes to look
\* up what a COMMIT did.
Forget ==
    /\ "Forget" \in Kinds
    /\ \E e \in Events :
        /\ db.claim[e] # Nobody /\ EventFree(e)
        /\ \A c \in Consumers : worker[c].at = "unknown" => EventAt(worker[c].pos) # e
        /\ \A o \in Offsets : EventAt(o) = e => o < (IF HasCheckpoint THEN db.cp ELSE group.offset)
        /\ db' = [db EXCEPT !.claim[e] = Nobody]
        /\ Say(Nobody, "an event is forgotten")
    /\ UNCHANGED <<standby, tx, group, member, worker, faults, ghost>>

\* An operator sets the checkpoint back. What is forgotten is then processed again.
Reset ==
    /\ Fault("Reset") /\ HasCheckpoint /\ \A c \in Consumers : ~Open(c)
    /\ \E o \in Offsets :
        /\ o < db.cp
        /\ db' = [db EXCEPT !.cp = o, !.token = IF Has("ResetTakesToken") THEN Nobody ELSE @, !.epoch = @ + 1, !.reset = db.epoch + 1]
        /\ ghost' = [ghost EXCEPT !.again = @ \cup {EventAt(p) : p \in {q \in o..(db.cp - 1) : ~HasIDs \/ db.claim[EventAt(q)] = Nobody}}]
    /\ Say(Nobody, "an operator sets the checkpoint back")
    /\ UNCHANGED <<standby, tx, group, member, worker>>

-----------------------------------------------------------------------------

Step(c) ==
    LET at == worker[c].at IN
    \/ at = "out" /\ member.is = c /\ Join(c)
    \/ at # "out" /\ ~IsMember(c) /\ Notice(c)
    \/ at \in {"joined", "rewound"} /\ (Acquire(c) \/ StartAtOffset(c))
    \/ at \in {"ready", "handling", "unknown"} /\ CommitOffset(c)
    \/ at = "ready" /\ (Disowned(c) \/ CatchUp(c) \/ Begin(c) \/ Advance(c))
    \/ at = "handling" /\ (Commit(c) \/ Retry(c))
    \/ at = "storing" /\ Store(c)
    \/ at = "unknown" /\ (Resolve(c) \/ GiveUp(c))
    \/ at # "handling" /\ Open(c) /\ LateEnd(c)
Failure(c) ==
    \/ worker[c].at = "handling" /\ (Fail(c) \/ LoseAnswer(c))
    \/ worker[c].at # "out" /\ Crash(c)
Next ==
    \/ \E c \in Consumers : Step(c) \/ (faults < Faults /\ Failure(c))
    \/ faults < Faults /\ (Rebalance \/ Lag \/ Failover \/ Reset)
    \/ Forget

\* A consumer that is not the group's member may stand still for ever, and so may its transaction. Without a
\* checkpoint nobody ends that.
Fair(c) == (member.is = c \/ ~HasCheckpoint) /\ Step(c)
Spec == Init /\ [][Next]_vars /\ \A c \in Consumers : WF_vars(Fair(c))

-----------------------------------------------------------------------------
(* The promises *)

DoneWith(e) == db.effects[e] + db.letters[e] > 0
Once == \A e \in Events : e \notin ghost.again => db.effects[e] + db.letters[e] <= 1
NothingLost == \A o \in Offsets : o < (IF HasCheckpoint THEN db.cp ELSE group.offset) => DoneWith(EventAt(o))
OneHandler == \A c, d \in Consumers : c # d /\ Open(c) /\ Open(d) => EventAt(tx[c].offset) # EventAt(tx[d].offset)
OwnerAlone == HasCheckpoint => \A c \in Consumers : worker[c].at = "handling" /\ Open(c) => db.owner = c
OffsetBehind == HasCheckpoint => group.offset <= ghost.high
Truthful == ~ghost.lie
AlarmsAreTrue == ~ghost.falseAlarm
StartsAreTrue == ~ghost.falseStart
OffsetGoesOn == [][group'.offset >= group.offset]_vars
Processed == <>[](\A e \in Events : DoneWith(e))
Arrives == <>[](group.offset = Len(Log))
=============================================================================
