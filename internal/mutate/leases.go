package main

// leases are the mechanisms of effects outside the transaction.
var leases = []mutant{
	{
		id: "lease-completed-by-its-token", mechanism: "an event is completed only by the token of its lease",
		file: "db/leases.sql.go", find: "l.token OPERATOR(pg_catalog.=) $5::pg_catalog.text::pg_catalog.uuid RETURNING", put: "$5::pg_catalog.text IS NOT NULL RETURNING",
		checker: in("lease", "TestModel"), says: "completed with the result of attempt",
	},
	{
		id: "lease-live", mechanism: "a lease is taken over only when it has ended",
		file: "lease/held.go", find: "Duration: l.config.Duration, TakesOver:", put: "Duration: -l.config.Duration, TakesOver:",
		checker: in("lease", "TestInProgress"), says: "meanwhile: got none",
	},
	{
		id: "lease-decided-first", mechanism: "what may have taken effect is not run again without a decision",
		file: "db/leases.sql.go", find: "(l.state OPERATOR(pg_catalog.=) 'released' OR $7::boolean)", put: "(true OR $7::boolean)",
		checker: in("lease", "TestCrashes/needs_decision"), says: "charged 2 times",
	},
	{
		id: "lease-same-key", mechanism: "each attempt has the same key for the other system",
		file: "lease/attempt.go", find: "url.PathEscape(a.EventID) +", put: "fmt.Sprint(a.Number) + url.PathEscape(a.EventID) +",
		checker: in("lease", "TestCrashes/rerun"), says: "charged 2 times",
	},
	{
		id: "lease-looked-at-anew", mechanism: "an acquisition that has waited for a completion sees it",
		file: "lease/held.go", find: "case seen.Claimed:", put: "case seen.Claimed && !seen.Mine:",
		checker: in("lease", "TestAcquisitionBehindACompletion"), says: "the function ran",
	},
	{
		id: "lease-step-by-its-token", mechanism: "a step is stored only by the token of its lease",
		file: "lease/attempt.go", find: "case !mine:", put: "case !mine && l == nil:",
		checker: in("lease", "TestStepOfALostLease"), says: "a step: <nil>",
	},
	{
		id: "lease-step-asks-first", mechanism: "a step of a lost lease does not run",
		file: "lease/attempt.go", find: "case len(rows) == 0:", put: "case len(rows) == 0 && l != nil:\n\t\treturn Result{}, false, nil\n\tcase len(rows) == 0:",
		checker: in("lease", "TestZombie|TestAttemptThatIsKept"), says: "the function ran",
	},
	{
		id: "lease-step-alone", mechanism: "two steps of one name do not run at the same time",
		file: "lease/attempt.go", find: "if before == running {", put: "if before == running && name == \"\" {",
		checker: in("lease", "TestStepsAtOnce"), says: "the function ran",
	},
	{
		id: "lease-step-unsettled", mechanism: "a step that may have taken effect and is not stored leaves its attempt unknown",
		file: "lease/held.go", find: "|| !a.isSettled()", put: "",
		checker: in("lease", "TestStepsOfUnknownEffect|TestStepThatIsNotWaitedFor"), says: "got lease: attempt 1 of event",
	},
	{
		id: "lease-fingerprint-kept", mechanism: "the payload of an event of which something is stored must not change",
		file: "db/leases.sql.go", find: "OPERATOR(pg_catalog.<>) '') THEN l.fingerprint END", put: "OPERATOR(pg_catalog.<>) '' AND false) THEN l.fingerprint END",
		checker: in("lease", "TestFingerprint$"), says: "step, it failed: ",
	},
	{
		id: "lease-fingerprint-first", mechanism: "an event with another payload is not begun",
		file: "db/leases.sql.go", find: "AND COALESCE(l.fingerprint OPERATOR(pg_catalog.=) excluded.fingerprint, true)", put: "",
		checker: in("lease", "TestFingerprint$"), says: "a later attempt: ",
	},
	{
		id: "lease-not-begun", mechanism: "an acquisition whose context ends is awaited, and released",
		file: "lease/held.go", find: "backoff.Outlive(ctx, grace)", put: "context.WithTimeout(ctx, grace)",
		checker: in("lease", "TestContextThatEndsBefore"), says: "in progress in another call",
	},
	{
		id: "lease-dropped", mechanism: "a lease that was acquired behind a completion is deleted",
		file: "db/leases.sql.go", find: "p.key OPERATOR(pg_catalog.=) d.key)", put: "p.key OPERATOR(pg_catalog.=) d.key AND false)",
		checker: in("lease", "TestAcquisitionBehindACompletion"), says: "1 leases are left",
	},
	{
		id: "lease-counted-first", mechanism: "an attempt is counted before its function runs",
		file: "db/leases.sql.go", find: "attempts = l.attempts OPERATOR(pg_catalog.+) 1,", put: "attempts = l.attempts,",
		checker: in("lease", "TestFailure"), says: "attempt 1, 0 unknown",
	},
	{
		id: "lease-unknown-if-it-panics", mechanism: "a function that does not return counts as unknown",
		file: "lease/do.go", find: "_ = l.failed(ctx, h, Unknown(errNoReturn))", put: "_ = l.failed(ctx, h, errNoReturn)",
		checker: in("lease", "TestNeedsDecision"), says: "in progress in another call",
	},
	{
		id: "lease-unknown-behind-the-effect", mechanism: "an event that cannot be completed behind its effect counts as unknown",
		file: "lease/held.go", find: `return Unknown(fmt.Errorf("lease: the effect has happened`, put: `return (fmt.Errorf("lease: the effect has happened`,
		checker: in("lease", "TestNeedsDecision/write_that_fails"), says: "in progress in another call",
	},
	{
		id: "lease-within-its-handler", mechanism: "an effect does not run in the handler of its own event",
		file: "lease/do.go", find: "if err := l.tables.NotWithin(ctx, eventID); err != nil {", put: "if err := l.tables.NotWithin(ctx, eventID); false {",
		checker: in("lease", "TestDoInTheHandlerOfItsEvent"), says: "the function ran",
	},
	{
		id: "lease-unknown-without-an-answer", mechanism: "an error of the network counts as unknown, unless nothing was sent",
		file: "lease/errors.go", find: "|| mayHaveArrived(err)", put: "",
		checker: in("lease", "TestRequestsWithoutAnAnswer"), says: "unknown: false",
	},
	{
		id: "lease-unknown-when-cancelled", mechanism: "an error after the end of the context counts as unknown",
		file: "lease/held.go", find: "case ctx.Err() != nil || !a", put: "case !a",
		checker: in("lease", "TestContextThatEnds"), says: "got lease: attempt 1",
	},
	{
		id: "lease-measured-before", mechanism: "a lease is measured from before the request that extended it",
		file: "lease/held.go", find: "h.extended(sent, l.config.Duration)", put: "h.extended(time.Now(), l.config.Duration)",
		checker: in("lease", "TestUntilIsNeverLaterThanTheDatabases"), says: "extended: it has",
	},
	{
		id: "lease-heartbeat", mechanism: "a lease is extended while its function runs, even if its caller has gone",
		file: "lease/held.go", find: "context.WithCancel(context.WithoutCancel(ctx))", put: "context.WithCancel(ctx)",
		checker: in("lease", "TestHeartbeat"), says: "the function ran",
	},
	{
		id: "lease-steps-remembered", mechanism: "a step that has happened is not run again",
		file: "lease/attempt.go", find: "err != nil || stored {", put: "err != nil {",
		checker: in("lease", "TestSteps"), says: "ran map[",
	},
	{
		id: "lease-undecided-kept", mechanism: "a lease that waits for an operator is never cleaned up",
		file: "db/leases.sql.go", find: "(l.state OPERATOR(pg_catalog.=) 'released' OR NOT l.needs_decision OR", put: "(l.state OPERATOR(pg_catalog.=) 'released' OR true OR",
		checker: in("cmd/idemctl/internal/cli", "TestCleanupOfLeases"), says: `want ["fails decide"`,
	},
	{
		id: "lease-result-with-its-claim", mechanism: "a result is deleted with its claim",
		file: "db/processed_events.sql.go", find: "r.key OPERATOR(pg_catalog.=) g.key)", put: "r.key OPERATOR(pg_catalog.<>) g.key)",
		checker: in("cmd/idemctl/internal/cli", "TestCleanupOfLeases"), says: `want ["old unknown decide false"`,
	},
	{
		id: "lease-decided-when-it-has-ended", mechanism: "an operator cannot decide while an attempt is running",
		file: "db/leases.sql.go", find: "AND (l.state OPERATOR(pg_catalog.<>) 'running' OR l.until OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp()) RETURNING", put: "RETURNING",
		checker: in("cmd/idemctl/internal/cli", "TestLeaseDecideWhileItRuns"), says: "exit status 0, want 1",
	},
	{
		id: "lease-decision-stands", mechanism: "what an operator has run again is not asked about",
		file: "lease/held.go", find: "&& !h.decided {", put: "{",
		checker: in("lease", "TestAskBehindADecision"), says: "call 3: asked 2 times",
	},
	{
		id: "lease-lost-is-its-own", mechanism: "the lost lease of another event, whose error a function returns, is not taken for this one",
		file: "lease/held.go", find: "&& lost.EventID == h.eventID {", put: "{",
		checker: in("lease", "TestLostLeaseOfAnother"), says: "returned: got lease: the lease of event",
	},
}
