package main

// consoles are the mechanisms by which the console shows and changes only what it may.
var consoles = []mutant{
	{
		id: "console-token", mechanism: "the console asks for its token",
		file: "console/login.go", find: "case s.has(r):", put: "case true:",
		checker: in("console", "TestTokenIsAskedFor"), says: "status 200, want 401",
	},
	{
		id: "console-session-signed", mechanism: "a session is signed",
		file: "console/login.go", find: "hmac.Equal([]byte(signature), []byte(s.signature(text)))", put: `signature != ""`,
		checker: in("console", "TestTokenIsAskedFor"), says: "status 200, want 401",
	},
	{
		id: "console-origin", mechanism: "forms of other sites are refused",
		file: "console/secure.go", find: "origins.Check(r) != nil || embedded(r)", put: "origins == nil || embedded(r)",
		checker: in("console", "TestRequestsOfOtherSitesAreRefused"), says: "a form: status 200, want 403",
	},
	{
		id: "console-embedded", mechanism: "so are other sites' pages that load this one as a part",
		file: "console/secure.go", find: "origins.Check(r) != nil || embedded(r)", put: "origins.Check(r) != nil",
		checker: in("console", "TestRequestsOfOtherSitesAreRefused"), says: "a part of its page: status 200, want 403",
	},
	{
		id: "console-reader", mechanism: "who may only look changes nothing",
		file: "console/secure.go", find: "err != nil || p.changes && !user.Change", put: "err != nil",
		checker: in("console", "TestWhoMayDoWhat"), says: "want 403",
	},
	{
		id: "console-masking", mechanism: "payloads are hidden from who may not see them",
		file: "console/payload.go", find: "Hidden: !may && len(b) > 0", put: "Hidden: false",
		checker: in("console", "TestPayloadsAreHidden"), says: "is shown in",
	},
	{
		id: "console-cap", mechanism: "of large payloads only the beginning is shown",
		file: "console/payload.go", find: "if len(b) > maxShown {", put: "if len(b) > maxShown<<20 {",
		checker: in("console", "TestPayloadsAreBounded"), says: `"only the beginning is shown" is missing`,
	},
	{
		id: "console-plan", mechanism: "what is confirmed is compared with what was shown",
		file: "console/deadletter_change.go", find: `if plan.Mark() != r.PostForm.Get("mark") {`, put: `if plan.Mark() == "" {`,
		checker: in("console", "TestConfirmedPlansThatNoLongerHoldChangeNothing"), says: "status 200, want 409",
	},
}

// telemetry are the mechanisms of idemotel.
var telemetry = []mutant{
	{
		id: "otel-links-bounded", mechanism: "a span links to a bounded number of producers",
		file: "idemotel/spans.go", find: "len(linked) == maxLinks", put: "len(linked) == maxLinks<<10",
		checker: in("idemotel", "TestLinksAreBounded"), says: "want 128 to 128",
	},
	{
		id: "otel-one-link", mechanism: "to each of them once",
		file: "idemotel/spans.go", find: "!producer.IsValid() || linked[from]", put: "!producer.IsValid()",
		checker: in("idemotel", "TestLinksAreBounded"), says: "want 128 to 128",
	},
	{
		id: "otel-contexts", mechanism: "a hook's context that is not made of the given one is not used",
		file: "idemotel/nest.go", find: "begun != nil && t.callOf(begun) == t.callOf(ctx)", put: "begun != nil",
		checker: in("idemotel", "TestNestedHooks"), says: "nil pointer dereference",
	},
}
