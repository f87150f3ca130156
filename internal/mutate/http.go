package main

// requests are the mechanisms of HTTP requests with an Idempotency-Key.
var requests = []mutant{
	{
		id: "http-scope", mechanism: "a key belongs to a tenant",
		file: "idemhttp/key.go", find: "b = appendPart(b, scope)", put: "_ = scope",
		checker: in("idemhttp", "TestConformance/tenants_do_not_share_keys"), says: `bob got 200 "the secret of ada"`,
	},
	{
		id: "http-scope-and-key", mechanism: "tenant and key are not mixed up",
		file: "idemhttp/key.go", find: "binary.BigEndian.AppendUint64(b, uint64(len(part)))", put: "binary.BigEndian.AppendUint64(b, 0)[:len(b)]",
		checker: in("idemhttp", "TestScope"), says: "1 effects after 2 tenants",
	},
	{
		id: "http-key-characters", mechanism: "a key is printable ASCII",
		file: "idemhttp/key.go", find: "if key[i] < ' ' || key[i] > '~' {", put: "if false {",
		checker: in("idemhttp", "TestHostileKeys"), says: "got 201",
	},
	{
		id: "http-body", mechanism: "a repeated request has the same body",
		file: "idemhttp/middleware.go", find: "idem.FingerprintOf(appendPart(b, body))", put: "idem.FingerprintOf(b)",
		checker: in("idemhttp", "TestBody"), says: "other body: got 201",
	},
	{
		id: "http-path", mechanism: "a repeated request has the same path, before any prefix is stripped",
		file: "idemhttp/middleware.go", find: "cmp.Or(r.RequestURI, r.URL.RequestURI())", put: "cmp.Or(r.URL.RequestURI())",
		checker: in("idemhttp", "TestStrippedPath"), says: "the other version: got 201",
	},
	{
		id: "http-headers", mechanism: "only headers of the list are replayed",
		file: "idemhttp/response.go", find: "slices.Contains(names, name) {\n\t\t\tcopied", put: "name != \"\" {\n\t\t\tcopied",
		checker: in("idemhttp", "TestConformance/a_replayed_response_sets_no_cookie"), says: `the replayed response sets the cookie "session=secret"`,
	},
	{
		id: "http-no-headers", mechanism: "a response is stored so that it can be read again",
		file: "idemhttp/response.go", find: "slices.ContainsFunc(values, isNoHeader)", put: "false && slices.ContainsFunc(values, isNoHeader)",
		checker: in("idemhttp", "TestHeadersThatAreNone"), says: "replayed: got 409",
	},
	{
		id: "http-trailers", mechanism: "trailers of a response reach its client",
		file: "idemhttp/response.go", find: "maps.Copy(r.to.Header(), r.header)", put: "_ = r.header",
		checker: in("idemhttp", "TestTrailers"), says: `with the trailers " "`,
	},
	{
		id: "http-host", mechanism: "the host can tell requests apart",
		file: "idemhttp/middleware.go", find: `if name == "Host" {`, put: `if name == "" {`,
		checker: in("idemhttp", "TestFingerprintOfTheHost"), says: "other host: got 201",
	},
	{
		id: "http-secret-headers", mechanism: "no list can have cookies and authentication",
		file: "idemhttp/config.go", find: "if slices.Contains(neverReplayed, name) {", put: "if false && slices.Contains(neverReplayed, name) {",
		checker: in("idemhttp", "TestInvalidConfig"), says: `got <nil>, want "has `,
	},
	{
		id: "http-fail-closed", mechanism: "without PostgreSQL the handler does not run",
		file: "idemhttp/middleware.go", find: "	case fits:\n", put: "	case fits && found.Type == ProblemUnavailable:\n		m.next.ServeHTTP(w, r)\n	case fits:\n",
		checker: in("idemhttp", "TestWithoutPostgreSQL"), says: "away: got 201",
	},
	{
		id: "http-hangs", mechanism: "a request does not wait for PostgreSQL for ever",
		file: "idemhttp/middleware.go", find: "func() { giveUp(errPatience) }", put: "func() { _ = errPatience }",
		checker: in("idemhttp", "TestPostgreSQLHangs"), says: "no answer",
	},
	{
		id: "http-not-completed", mechanism: "a response counts only if the request is completed",
		file: "idemhttp/middleware.go", find: "	case fits:\n		found.write(w)\n	case answer != nil:\n		answer.end()\n",
		put:     "	case answer != nil:\n		answer.end()\n	case fits:\n		found.write(w)\n",
		checker: in("idemhttp", "TestNotCompleted"), says: "got 201",
	},
	{
		id: "http-passed-on", mechanism: "the same for a response that was passed on: its connection is cut",
		file: "idemhttp/middleware.go", find: "panic(http.ErrAbortHandler)", put: "return",
		checker: in("idemhttp", "TestLargeResponseThatDoesNotCount"), says: "the client has a whole response",
	},
	{
		id: "http-5xx", mechanism: "a 5xx is of unknown outcome",
		file: "idemhttp/middleware.go", find: "lease.Unknown(&statusError{answer.status})", put: "&statusError{answer.status}",
		checker: in("idemhttp", "TestVerdicts"), says: "500: again: got 500 effect 2",
	},
	{
		id: "http-429", mechanism: "429 is never stored",
		file: "idemhttp/middleware.go", find: "if answer.status == http.StatusTooManyRequests && verdict == Store {", put: "if false {",
		checker: in("idemhttp", "TestVerdicts"), says: "429, not stored: again: got 429 effect 1",
	},
	{
		id: "http-client-gone", mechanism: "the handler goes on when its client has gone",
		file: "idemhttp/middleware.go", find: "longer := context.WithoutCancel(ctx)", put: "longer := ctx",
		checker: in("idemhttp", "TestConformance/the_response_of_a_client_that_has_gone_is_stored"), says: "want the response that the client has missed",
	},
	{
		id: "http-client-body", mechanism: "a client sends the whole body again",
		file: "idemhttp/transport.go", find: "again.Body = body", put: "_ = body",
		checker: in("idemhttp", "TestTransport/lost"), says: "got 0, ",
	},
}
