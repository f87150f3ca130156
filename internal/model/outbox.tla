-------------------------------- MODULE outbox --------------------------------
(* How a relay finds what transactions publish, by a cursor that goes from one snapshot to the next.                           *)
(* docs/model.md says what of it is here and what is not.                                                                      *)
EXTENDS Naturals

CONSTANTS
    Mode,       \* "relay"; there is no other one
    Records,    \* transactions that publish a record each
    Faults,     \* how many faults there are at most
    Kinds,      \* which
    Without     \* the mechanism that is switched off, or "nothing"

Mechanisms == {
    "NumberFirst",          \* a transaction has its number before it draws an id
    "LowOfAnEarlierTurn",   \* ids are only passed that were drawn before an earlier turn got its number
    "DrawnBeforeNumber",    \* how far ids were drawn is read before the turn gets its number
    "UnderWayLookedUp",     \* transactions that the former snapshot saw under way are looked up
    "SnapshotKept",         \* the portions up to a snapshot are read by that snapshot
    "OrderOfIDs",           \* records are read in the order of their ids
    "DeletedBehindKafka"    \* a record is deleted when Kafka has it
}
ASSUME Without \in Mechanisms \cup {"nothing"}
Has(mechanism) == Without # mechanism

Publishers == 1..Records
MostTurns == 3

VARIABLES
    numbers,    \* how many numbers of transactions were given out
    ids,        \* how many ids were drawn
    ended,      \* the numbers of transactions that have ended
    pub,        \* the transactions that publish, and their records
    cursor,     \* what the relay has read
    turn,       \* its transaction
    turns,      \* how many there were
    kafka,      \* what came to Kafka
    faults,     \* how many there have been
    ghost,      \* what only the properties know
    said        \* what has just happened, in words
vars == <<numbers, ids, ended, pub, cursor, turn, turns, kafka, faults, ghost>>

NoSnapshot == [end |-> 1, underWay |-> {}]
FromTheBeginning == [done |-> NoSnapshot, low |-> 0, target |-> NoSnapshot, targetLow |-> 0, aimed |-> FALSE, after |-> 0, numbered |-> 0]
NoTurn == [at |-> "none", drawn |-> 0, number |-> 0, read |-> {}]

Init ==
    /\ numbers = 0 /\ ids = 0 /\ ended = {} /\ turns = 0 /\ kafka = {} /\ faults = 0
    /\ pub = [p \in Publishers |-> [at |-> "begun", number |-> 0, id |-> 0]]
    /\ cursor = FromTheBeginning
    /\ turn = NoTurn
    /\ ghost = [before |-> [p \in Publishers |-> {}], disorder |-> FALSE]
    /\ said = ""

Fault(kind) == kind \in Kinds /\ faults < Faults /\ faults' = faults + 1
Say(who, what) == said' = <<who, what>>

\* pg_current_snapshot. What stands behind its end need not have begun later.
Snapshot ==
    LET end == IF ended = {} THEN 1 ELSE 1 + (CHOOSE n \in ended : \A m \in ended : m <= n)
    IN [end |-> end, underWay |-> {n \in 1..(end - 1) : n \notin ended}]
Sees(snapshot, number) == number < snapshot.end /\ number \notin snapshot.underWay

-----------------------------------------------------------------------------
(* Transactions that publish *)

Number(p) ==
    /\ pub[p].number = 0
    /\ pub[p].id = 0 \/ ~Has("NumberFirst")
    /\ numbers' = numbers + 1
    /\ pub' = [pub EXCEPT ![p].number = numbers + 1]
    /\ Say(p, "gets its number")
    /\ UNCHANGED <<ids, ended, cursor, turn, turns, kafka, faults, ghost>>

\* It publishes behind what it has waited for: all that is committed.
Draw(p) ==
    /\ pub[p].id = 0
    /\ pub[p].number > 0 \/ ~Has("NumberFirst")
    /\ ids' = ids + 1
    /\ pub' = [pub EXCEPT ![p].id = ids + 1]
    /\ ghost' = [ghost EXCEPT !.before = [@ EXCEPT ![p] = {q \in Publishers : pub[q].at \in {"committed", "deleted"}}]]
    /\ Say(p, "draws an id")
    /\ UNCHANGED <<numbers, ended, cursor, turn, turns, kafka, faults>>

Commit(p) ==
    /\ pub[p].number > 0 /\ pub[p].id > 0
    /\ pub' = [pub EXCEPT ![p].at = "committed"]
    /\ ended' = ended \cup {pub[p].number}
    /\ Say(p, "commits")
    /\ UNCHANGED <<numbers, ids, cursor, turn, turns, kafka, faults, ghost>>

-----------------------------------------------------------------------------
(* A turn of the relay: outbox/turn.go, outbox/cursor.go and queries/outbox.sql *)

Take ==
    /\ turn.at = "none" /\ turns < MostTurns
    /\ turns' = turns + 1
    /\ turn' = [NoTurn EXCEPT !.at = "taken", !.drawn = ids]
    /\ Say(0, "the relay takes a turn")
    /\ UNCHANGED <<numbers, ids, ended, pub, cursor, kafka, faults, ghost>>

Aim ==
    /\ turn.at = "taken"
    /\ turn' = [turn EXCEPT !.at = "reading"]
    /\ cursor' = IF cursor.aimed THEN cursor
                 ELSE [cursor EXCEPT !.aimed = TRUE, !.target = Snapshot, !.targetLow = IF Has("LowOfAnEarlierTurn") THEN cursor.numbered ELSE turn.drawn]
    /\ Say(0, "the relay sees a snapshot")
    /\ UNCHANGED <<numbers, ids, ended, pub, turns, kafka, faults, ghost>>

Target == IF Has("SnapshotKept") THEN cursor.target ELSE Snapshot
Reachable(p) ==
    \/ pub[p].number >= cursor.done.end /\ pub[p].id > cursor.low
    \/ Has("UnderWayLookedUp") /\ pub[p].number \in cursor.done.underWay
Next1(p) == pub[p].at = "committed" /\ p \notin turn.read /\ Reachable(p) /\ Sees(Target, pub[p].number)
Due == {p \in Publishers : Next1(p) /\ (pub[p].id > cursor.after \/ ~Has("OrderOfIDs"))}
Sent(p) ==
    /\ kafka' = kafka \cup {p}
    /\ ghost' = [ghost EXCEPT !.disorder = @ \/ \E q \in ghost.before[p] : q \notin kafka]

\* A portion of one record. The turn's first change gives it its number.
Read(p) ==
    /\ turn.at = "reading" /\ p \in Due
    /\ Has("OrderOfIDs") => \A q \in Due : pub[p].id <= pub[q].id
    /\ cursor' = [cursor EXCEPT !.after = pub[p].id, !.target = Target]
    /\ turn' = [turn EXCEPT !.read = @ \cup {p}, !.number = IF @ = 0 THEN numbers + 1 ELSE @]
    /\ numbers' = IF turn.number = 0 THEN numbers + 1 ELSE numbers
    /\ IF Has("DeletedBehindKafka") THEN Sent(p) ELSE UNCHANGED <<kafka, ghost>>
    /\ Say(p, IF Has("DeletedBehindKafka") THEN "is sent" ELSE "is read")
    /\ UNCHANGED <<ids, ended, pub, turns, faults>>

\* All that the snapshot sees has been read, or the turn is long enough.
End ==
    /\ turn.at = "reading"
    /\ pub' = [p \in Publishers |-> IF p \in turn.read THEN [pub[p] EXCEPT !.at = "deleted"] ELSE pub[p]]
    /\ ended' = IF turn.number > 0 THEN ended \cup {turn.number} ELSE ended
    /\ LET numbered == IF turn.number = 0 THEN cursor.numbered ELSE IF Has("DrawnBeforeNumber") THEN turn.drawn ELSE ids
       IN cursor' = IF Due = {}
                    THEN [FromTheBeginning EXCEPT !.done = Target, !.low = cursor.targetLow, !.numbered = numbered]
                    ELSE [cursor EXCEPT !.numbered = numbered]
    /\ turn' = IF Has("DeletedBehindKafka") THEN NoTurn ELSE [turn EXCEPT !.at = "sending"]
    /\ Say(0, IF Due = {} THEN "the relay has read all, and commits" ELSE "the relay commits")
    /\ UNCHANGED <<numbers, ids, turns, kafka, faults, ghost>>

\* Only without DeletedBehindKafka.
SendLater ==
    /\ turn.at = "sending"
    /\ kafka' = kafka \cup turn.read
    /\ turn' = NoTurn
    /\ Say(0, "the relay sends what it has read")
    /\ UNCHANGED <<numbers, ids, ended, pub, cursor, turns, faults, ghost>>

\* Its transaction is rolled back, and the next relay knows nothing.
Crash ==
    /\ turn.at # "none" /\ Fault("Crash")
    /\ ended' = IF turn.number > 0 THEN ended \cup {turn.number} ELSE ended
    /\ turn' = NoTurn
    /\ cursor' = FromTheBeginning
    /\ Say(0, "the relay crashes")
    /\ UNCHANGED <<numbers, ids, pub, turns, kafka, ghost>>

-----------------------------------------------------------------------------

Next ==
    \/ \E p \in Publishers : pub[p].at = "begun" /\ (Number(p) \/ Draw(p) \/ Commit(p))
    \/ \E p \in Publishers : Read(p)
    \/ Take \/ Aim \/ End \/ SendLater \/ Crash
Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
(* The promises *)

\* The relay comes to each record that is committed. In between turns, because within one the cursor is on its way.
NothingPassed == turn.at = "none" => \A p \in Publishers :
    pub[p].at = "committed" => Reachable(p) /\ (cursor.aimed /\ Sees(cursor.target, pub[p].number) => pub[p].id > cursor.after)
InOrder == ~ghost.disorder
NothingDropped == turn.at = "none" => \A p \in Publishers : pub[p].at = "deleted" => p \in kafka
=============================================================================
