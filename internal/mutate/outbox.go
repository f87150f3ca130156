package main

// outboxes are the mechanisms of outbox.
var outboxes = []mutant{
	{
		id: "outbox-low-id", mechanism: "the index is entered at ids that were drawn before a former turn got its number",
		file: "outbox/turn.go", find: "t.cursor.aim(", put: "t.cursor.numbered = t.drawn; t.cursor.aim(",
		checker: in("outbox", "TestQuietOutbox"), says: "waited in vain for",
	},
	{
		id: "outbox-late", mechanism: "records of transactions that were under way are looked up",
		file: "db/outbox.sql.go", find: " UNION ALL SELECT id, created_at, key_hash, event_id, topic, key, value, header_keys, header_values FROM late", put: "",
		checker: in("outbox", "TestPortionsOfLateTransactions"), says: "waited in vain for",
	},
	{
		id: "outbox-number", mechanism: "a turn gets a number where much is written and nothing committed",
		file: "outbox/turn.go", find: "if !t.numbered && t.drawn > t.cursor.numbered+batchRecords {", put: "if false {",
		checker: in("outbox", "TestCostOfReading"), says: "rows of an open transaction: a read touches",
	},
	{
		id: "outbox-by-indexes", mechanism: "the planner enters the table by its indexes",
		file: "db/outbox.sql.go", find: "pg_catalog.set_config('enable_seqscan', 'off', true)) OPERATOR(pg_catalog.||) pg_catalog.set_config('enable_sort', 'off', true)", put: "pg_catalog.set_config('enable_seqscan', 'on', true)) OPERATOR(pg_catalog.||) pg_catalog.set_config('enable_sort', 'on', true)",
		checker: in("outbox", "TestCostOfReading"), says: "dead rows: a read touches",
	},
	{
		id: "outbox-look-by-index", mechanism: "a turn looks for decisions without reading what waits",
		file: "db/outbox.sql.go", find: "error = NULL WHERE EXISTS (SELECT FROM decided) AND (state OPERATOR(pg_catalog.=) 'retry' OR", put: "error = NULL WHERE (id OPERATOR(pg_catalog.=) ANY (SELECT id FROM decided WHERE state OPERATOR(pg_catalog.=) 'retry') OR",
		checker: in("outbox", "TestCostOfReading"), says: "(a look: true) touched",
	},
	{
		id: "outbox-server", mechanism: "the cursor is forgotten on another server",
		file: "outbox/cursor.go", find: "if c.server != 0 && c.server != server {", put: "if false {",
		checker: in("outbox", "TestAnotherServer"), says: "waited in vain for 2 records",
	},
	{
		id: "outbox-restored", mechanism: "a number that the server has not given out yet is of another server",
		file: "db/outbox.sql.go", find: " OR o.xid OPERATOR(pg_catalog.>=) (SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()))", put: "",
		checker: in("outbox", "TestRestored/switchover"), says: "waited in vain for an empty outbox",
	},
	{
		id: "outbox-forgets", mechanism: "the cursor is forgotten after an error",
		file: "outbox/relay.go", find: "		r.cursor = fromTheBeginning()\n", put: "",
		checker: in("outbox", "TestRelayIsCut/before"), says: "waited in vain for an empty outbox",
	},
	{
		id: "outbox-local", mechanism: "what a turn sets is set for its transaction",
		file: "db/outbox.sql.go", find: "set_config('jit', 'off', true)", put: "set_config('jit', 'off', false)",
		checker: in("outbox", "TestThroughPgBouncer/exec"), says: "a session is left with on,on,off,0",
	},
	{
		id: "outbox-looks-back", mechanism: "the whole table is read again after a time",
		file: "outbox/relay.go", find: "due := time.Since(r.cursor.started) > r.lookBack", put: "due := false",
		checker: in("outbox", "TestRelayLooksBack"), says: "waited in vain for an empty outbox",
	},
	{
		id: "outbox-turns", mechanism: "relays take turns",
		file: "db/outbox.sql.go", find: "pg_catalog.pg_advisory_xact_lock($2::bigint)", put: "pg_catalog.pg_advisory_xact_lock_shared($2::bigint)",
		checker: in("outbox", "TestRelaysTakeTurns"), says: "200 records came",
	},
	{
		id: "outbox-frozen", mechanism: "a frozen relay loses its turn",
		file: "outbox/turn.go", find: "return r.config.ProduceTimeout + grace", put: "return 0",
		checker: in("outbox", "TestFrozenRelayIsReplaced"), says: "waited in vain for an empty outbox",
	},
	{
		id: "outbox-acknowledged", mechanism: "only what Kafka has acknowledged is deleted",
		file: "outbox/delivery.go", find: "case err == nil:", put: "case !errors.Is(err, ErrRefused):",
		checker: in("outbox", "TestTopicThatTakesNoRecords"), says: "waited in vain for the other topic's record",
	},
	{
		id: "outbox-flushed", mechanism: "franzadapter: records end with their turn: the client is flushed until they have",
		file: "franzadapter/producer.go", find: "Flush(context.WithoutCancel(ctx))", put: "Flush(ctx)",
		checker: checker{pkg: "e2e", run: "^TestProducerReturnsWhenItsTurnIsOver$", adapter: "franz"}, says: "Produce does not return",
	},
	{
		id: "outbox-other-topics", mechanism: "a topic that takes no records is left out for a while",
		file: "outbox/relay.go", find: "if !w.until.IsZero() {", put: "if w == nil {",
		checker: in("outbox", "TestTopicThatTakesNoRecords"), says: "waited in vain for the other topic's record",
	},
	{
		id: "outbox-quiet", mechanism: "a relay takes no turn while no transaction ends",
		file: "outbox/cursor.go", find: `return c.target == "" && c.done == snapshot`, put: `return c.target == "never" && c.done == snapshot`,
		checker: in("outbox", "TestQuietOutbox"), says: "waited in vain for polls of one statement",
	},
	{
		id: "outbox-not-quiet", mechanism: "a transaction that has ended wakes the relay",
		file: "outbox/cursor.go", find: `c.target == "" && c.done == snapshot`, put: `c.target == ""`,
		checker: in("outbox", "TestQuietOutbox"), says: "waited in vain for 1 records",
	},
	{
		id: "outbox-stops-in-order", mechanism: "what Kafka has when a relay stops is deleted, whatever is read ahead",
		file: "outbox/turn.go", find: "longer, stop := backoff.Outlive(ctx, grace)", put: "longer, stop := context.WithCancel(ctx); _ = backoff.Outlive",
		checker: in("outbox", "TestStopRepeatsNothing"), says: "the log has",
	},
	{
		id: "outbox-ends-turns", mechanism: "a turn ends after a time, however much there is to read",
		file: "outbox/turn.go", find: "time.Since(t.began) > turnLength", put: "false",
		checker: in("outbox", "TestTurnEnds"), says: "waited in vain for the end of a turn",
	},
	{
		id: "outbox-away-behind-a-portion", mechanism: "what was read ahead of a topic that took no records waits, too",
		file: "outbox/delivery.go", find: "waits, parked := d.waiting[row.Topic] != nil", put: "waits, parked := false",
		checker: in("outbox", "TestTopicFailsWithAPortion"), says: "the log has",
	},
	{
		id: "outbox-parks-behind-a-portion", mechanism: "what was read ahead of a refused record's key is parked, too",
		file: "outbox/delivery.go", find: "row.Held || d.held[row.KeyHash]", put: "row.Held",
		checker: in("outbox", "TestRefusedWithAPortion"), says: "waited in vain for parked records",
	},
	{
		id: "outbox-parks", mechanism: "what follows a refused record of its key is parked",
		file: "outbox/delivery.go", find: "row.Held || d.held[row.KeyHash]", put: "false",
		checker: in("outbox", "TestRefusedRecordParksItsKey/discard"), says: "waited in vain for parked records",
	},
	{
		id: "outbox-halves", mechanism: "of a refused batch the halves are sent",
		file: "outbox/delivery.go", find: "case len(rows) > 1:", put: "case false:",
		checker: in("outbox", "TestRefusedRecordParksItsKey/discard"), says: "waited in vain for parked records",
	},
	{
		id: "outbox-released-by-hash", mechanism: "a decision releases what was parked after it, too",
		file: "db/outbox.sql.go", find: "OR (state OPERATOR(pg_catalog.=) 'parked' AND key_hash OPERATOR(pg_catalog.=) ANY (SELECT key_hash FROM decided))", put: "",
		checker: in("outbox", "TestDecisionWhileARecordIsParked"), says: "waited in vain for an empty outbox",
	},
	{
		id: "outbox-same-event-id", mechanism: "a record has the same event id each time",
		file: "outbox/delivery.go", find: "Value: []byte(row.EventID)", put: `Value: fmt.Appendf(nil, "%p", row)`,
		checker: in("outbox", "TestRelayDiesBetweenProduceAndDelete"), says: "came with the event ids",
	},
	{
		id: "outbox-silent-topic", mechanism: "a topic that does not answer is tried again after four times as long, while there are others",
		file: "outbox/relay.go", find: "pause = max(pause, 4*d.lasted)", put: "pause = max(pause, d.lasted/8)",
		checker: in("outbox", "TestTopicThatDoesNotAnswer"), says: "after the one before",
	},
}
