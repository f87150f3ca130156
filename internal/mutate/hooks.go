package main

// hooks are the mechanisms of the consumer's hooks.
var hooks = []mutant{
	{
		id: "process-ended", mechanism: "hooks are ended behind a handler that ends its goroutine",
		file: "internal/engine/hooks.go", find: "defer func() { process.end(end) }()\n\tend = try(ctx)", put: "end = try(ctx)\n\tprocess.end(end)",
		checker: e2e("TestHooksEnd/exited_single"), says: "begun map[",
	},
	{
		id: "pause-ended", mechanism: "a pause is ended when its partition is given up",
		file: "internal/engine/wait.go", find: "func (p *wait) giveUp() { p.pause.end(false) }", put: "func (p *wait) giveUp() {}",
		checker: e2e("TestHooksOfAPauseThatIsGivenUp"), says: "begun map[",
	},
	{
		id: "breakers-pause-ended", mechanism: "a breaker's pause is ended when its partition is given up",
		file: "internal/engine/breaker.go", find: "b.pause.end(false)", put: "_ = b.pause",
		checker: e2e("TestHooksOfABreakerThatStaysOpen"), says: "begun map[",
	},
	{
		id: "context-of-process", mechanism: "the context of `Process` is handed on",
		file: "internal/engine/hooks.go", find: "ctx, process := watch(ctx,", put: "_, process := watch(ctx,",
		checker: e2e("TestHooks/batch"), says: "paths",
	},
	{
		id: "records-as-fetched", mechanism: "hooks get the records as they were fetched",
		file: "internal/engine/handler.go", find: "return fetchedMessages(fresh) }", put: "return consume.MessagesOf(batch...) }",
		checker: e2e("TestHooks/batch"), says: "as the handler has left it",
	},
	{
		id: "hooks-that-panic", mechanism: "panics of hooks are recovered",
		file: "consume/hooks.go", find: "if value := recover(); value != nil {", put: "if value := any(nil); value != nil {",
		checker: e2e("TestHooksThatPanic"), says: "panic: no metrics",
	},
	{
		id: "fetcher-ended-by-a-hook", mechanism: "a fetcher that a hook has ended ends `Run`",
		file: "internal/engine/fetcher.go", find: "f.err = consume.ErrHandlerExited // unless", put: "// unless",
		checker: in("internal/engine", "TestHookThatEndsTheFetcher"), says: "the fetcher ended with <nil>",
	},
	{
		id: "unset-hooks-of-the-consumer", mechanism: "unset hooks of the consumer build nothing",
		file: "internal/engine/hooks.go", find: "if isUnset(hook) {\n\t\ttry(ctx)", put: "if isUnset(hook) && messages == nil {\n\t\ttry(ctx)",
		checker: in("internal/engine", "TestUnsetHooksAllocateNothing"), says: "allocations",
	},
	{
		id: "kinds-of-duplicates", mechanism: "hooks are told the kinds of duplicates: of records that stand alone",
		file: "internal/engine/hooks.go", find: "end.DuplicateKinds[w.duplicate]++", put: "end.DuplicateKinds[idem.DuplicateUnknown]++",
		checker: e2e("TestKindsOfDuplicates/single_places_true"), says: "duplicates by kind",
	},
	{
		id: "kinds-in-batches", mechanism: "the same, in batches",
		file: "internal/engine/batch.go", find: "kinds[results[done].Duplicate]++", put: "kinds[idem.DuplicateUnknown]++",
		checker: e2e("TestKindsOfDuplicates/batch_places_true"), says: "duplicates by kind",
	},
	{
		id: "former-owner-told", mechanism: "what a former owner processes after a takeover is told",
		file: "idem/duplicate.go", find: "return DuplicateFormerOwner", put: "return DuplicateRedelivered",
		checker: e2e("TestFormerOwnerGoesOn"), says: "duplicates by kind",
	},
}
