-------------------------------- MODULE lease --------------------------------
(* How calls run an effect outside the transaction under a lease, once, although processes, connections and the lease fail.   *)
(* docs/model.md says what of it is here and what is not.                                                                     *)
EXTENDS Naturals

CONSTANTS
    Mode,       \* lease.Policy
    Faults,     \* how many faults there are at most
    Kinds,      \* which
    Without     \* the mechanism that is switched off, or "nothing"

Mechanisms == {
    "FreeOnly",             \* an attempt begins when no other one has the lease
    "ClaimLookedAt",        \* an attempt begins only if the event is not claimed
    "WaitsForDecision",     \* what may have taken effect is not run again without a decision
    "UnknownCounted",       \* who takes a lease over counts the attempt before as one that may have taken effect
    "ErrorsDoubted",        \* an error behind the end of the context counts as unknown
    "CompletedByHolder",    \* only the latest attempt completes the event
    "CompletedAtOnce",      \* the lease ends in the transaction that claims the event
    "EndedByHolder"         \* only the latest attempt ends the lease
}
ASSUME Without \in Mechanisms \cup {"nothing"}
Has(mechanism) == Without # mechanism

Calls == {1, 2}
Nobody == 0

VARIABLES
    row,        \* the lease
    claim,      \* whose completion was committed, or Nobody
    call,       \* what each call knows
    effects,    \* how often the other system has acted
    reruns,     \* how often an operator has said that it has not, and is to
    faults,     \* how many there have been
    ghost,      \* what only the properties know
    said        \* what has just happened, in words
vars == <<row, claim, call, effects, reruns, faults, ghost>>

NoRow == [state |-> "none", token |-> Nobody, over |-> TRUE, unknown |-> 0, needsDecision |-> FALSE]
Out == [at |-> "out", token |-> Nobody, unknown |-> 0]

Init ==
    /\ row = NoRow
    /\ claim = Nobody
    /\ call = [c \in Calls |-> Out]
    /\ effects = 0
    /\ reruns = 0
    /\ faults = 0
    /\ ghost = [tokens |-> 0, wrongHolder |-> FALSE, silent |-> FALSE]
    /\ said = ""

Fault(kind) == kind \in Kinds /\ faults < Faults /\ faults' = faults + 1
Say(c, what) == said' = <<c, what>>
Become(c, w) == call' = [call EXCEPT ![c] = w]
Mine(c) == row.token = call[c].token
TakesOver == Mode # "NeedsDecision" \/ ~Has("WaitsForDecision")

\* queries/leases.sql, LeaseAcquire and LeaseLook
Acquire(c) ==
    /\ claim = Nobody \/ ~Has("ClaimLookedAt")
    /\ row.over \/ ~Has("FreeOnly")
    /\ row.state \in {"none", "released"} \/ (TakesOver /\ ~row.needsDecision)
    /\ LET unknown == row.unknown + (IF row.state = "running" /\ Has("UnknownCounted") THEN 1 ELSE 0)
           token == ghost.tokens + 1
       IN /\ row' = [state |-> "running", token |-> token, over |-> FALSE, unknown |-> unknown, needsDecision |-> FALSE]
          /\ Become(c, [at |-> "running", token |-> token, unknown |-> unknown])
          /\ ghost' = [ghost EXCEPT !.tokens = token, !.silent = @ \/ unknown < effects]
    /\ Say(c, "begins an attempt")
    /\ UNCHANGED <<claim, effects, reruns, faults>>

\* lease.go: an earlier attempt may have taken effect. The other system knows, but not of what is still on its way.
Ask(c) ==
    /\ Mode = "Ask" /\ call[c].unknown > 0
    /\ IF effects > 0
       THEN Become(c, [call[c] EXCEPT !.at = "acted", !.unknown = 0])
       ELSE Become(c, [call[c] EXCEPT !.unknown = 0])
    /\ Say(c, IF effects > 0 THEN "asks and hears that an attempt took effect" ELSE "asks and hears that no attempt took effect")
    /\ UNCHANGED <<row, claim, effects, reruns, faults, ghost>>

Act(c) ==
    /\ Mode = "Ask" => call[c].unknown = 0
    /\ effects' = effects + 1
    /\ Become(c, [call[c] EXCEPT !.at = "acted"])
    /\ Say(c, "takes effect")
    /\ UNCHANGED <<row, claim, reruns, faults, ghost>>

\* lease.go, failed and end
End(c, state) ==
    /\ row' = IF Mine(c) \/ ~Has("EndedByHolder")
              THEN [row EXCEPT !.state = state, !.token = Nobody, !.over = TRUE, !.unknown = call[c].unknown + (IF state = "unknown" THEN 1 ELSE 0),
                               !.needsDecision = state = "unknown" /\ ~TakesOver]
              ELSE row
    /\ Become(c, Out)

\* The function says that nothing happened.
FailBefore(c) ==
    /\ Fault("Fail")
    /\ End(c, "released")
    /\ Say(c, "fails before its effect")
    /\ UNCHANGED <<claim, effects, reruns, ghost>>

\* Its context ends behind the effect, and the function returns an error.
FailBehind(c) ==
    /\ Fault("Cancel")
    /\ End(c, IF Has("ErrorsDoubted") THEN "unknown" ELSE "released")
    /\ Say(c, "is cancelled behind its effect")
    /\ UNCHANGED <<claim, effects, reruns, ghost>>

Claimed(c) ==
    /\ claim' = IF claim = Nobody THEN c ELSE claim
    /\ ghost' = [ghost EXCEPT !.wrongHolder = @ \/ (~Mine(c) /\ claim = Nobody)]

\* queries/leases.sql, LeaseComplete
Complete(c) ==
    /\ IF Mine(c) \/ ~Has("CompletedByHolder")
       THEN IF Has("CompletedAtOnce")
            THEN /\ Claimed(c)
                 /\ row' = NoRow
                 /\ Become(c, [Out EXCEPT !.at = "done"])
                 /\ Say(c, "completes the event")
            ELSE /\ row' = NoRow
                 /\ Become(c, [call[c] EXCEPT !.at = "ended"])
                 /\ Say(c, "ends its lease")
                 /\ UNCHANGED <<claim, ghost>>
       ELSE /\ Become(c, Out)
            /\ Say(c, "hears that it has lost the lease")
            /\ UNCHANGED <<row, claim, ghost>>
    /\ UNCHANGED <<effects, reruns, faults>>

\* Only without CompletedAtOnce.
ClaimLater(c) ==
    /\ claim' = c
    /\ Become(c, [Out EXCEPT !.at = "done"])
    /\ Say(c, "claims the event")
    /\ UNCHANGED <<row, effects, reruns, faults, ghost>>

\* The connection is lost during the COMMIT of the completion, which takes effect or not. It is looked up by the claim.
LoseAnswer(c) ==
    /\ Fault("LoseAnswer") /\ Mine(c) /\ Has("CompletedAtOnce")
    /\ \/ /\ Claimed(c) /\ row' = NoRow
          /\ Become(c, [Out EXCEPT !.at = "done"])
          /\ Say(c, "completes the event and finds that out by the claim")
       \/ /\ End(c, "unknown")
          /\ Say(c, "cannot complete the event, and finds that out by the claim")
          /\ UNCHANGED <<claim, ghost>>
    /\ UNCHANGED <<effects, reruns>>

Crash(c) ==
    /\ Fault("Crash")
    /\ Become(c, Out)
    /\ Say(c, "crashes")
    /\ UNCHANGED <<row, claim, effects, reruns, ghost>>

\* The lease of a process that has ended ends. That of one that stands still does, too, and it goes on later.
Held == \E c \in Calls : call[c].at \in {"running", "acted"} /\ Mine(c)
Expire ==
    /\ row.state = "running" /\ ~row.over
    /\ IF Held THEN Fault("Freeze") ELSE UNCHANGED faults
    /\ row' = [row EXCEPT !.over = TRUE]
    /\ Say(Nobody, "the lease ends")
    /\ UNCHANGED <<claim, call, effects, reruns, ghost>>

\* The next call finds that an attempt may have taken effect. An operator looks at the other system and says what it knows.
Decide ==
    /\ claim = Nobody /\ row.over /\ row.state \in {"running", "unknown"} /\ ~TakesOver
    /\ IF effects > 0
       THEN claim' = 3 /\ row' = NoRow /\ UNCHANGED reruns /\ Say(Nobody, "an operator says that the event took effect")
       ELSE /\ row' = [row EXCEPT !.state = "released", !.token = Nobody, !.unknown = @ + (IF row.state = "running" THEN 1 ELSE 0), !.needsDecision = FALSE]
            /\ reruns' = reruns + 1
            /\ UNCHANGED claim
            /\ Say(Nobody, "an operator has the event run again")
    /\ UNCHANGED <<call, effects, faults, ghost>>

-----------------------------------------------------------------------------

Step(c) ==
    LET at == call[c].at IN
    \/ at = "out" /\ Acquire(c)
    \/ at = "running" /\ (Ask(c) \/ Act(c))
    \/ at = "acted" /\ Complete(c)
    \/ at = "ended" /\ ClaimLater(c)
Failure(c) ==
    \/ call[c].at = "running" /\ FailBefore(c)
    \/ call[c].at = "acted" /\ (FailBehind(c) \/ LoseAnswer(c))
    \/ call[c].at \in {"running", "acted", "ended"} /\ Crash(c)
Next ==
    \/ \E c \in Calls : Step(c) \/ (faults < Faults /\ Failure(c))
    \/ Expire
    \/ Decide

\* Calls come again until the event is completed.
Spec == Init /\ [][Next]_vars /\ (\A c \in Calls : WF_vars(Step(c))) /\ WF_vars(Decide) /\ WF_vars(~Held /\ Expire)

-----------------------------------------------------------------------------
(* The promises *)

OneEffect == effects <= 1
OneEffectADecision == effects <= 1 + reruns
OneHolder == \A c, d \in Calls : c # d => ~(call[c].at = "running" /\ call[d].at = "running" /\ ~row.over /\ Mine(c) /\ Mine(d))
CompletedByTheLatest == ~ghost.wrongHolder
NothingSilent == ~ghost.silent
CompletedTrue == claim # Nobody => effects > 0
Completed == <>[](claim # Nobody)
=============================================================================
