package main

// controls are the mechanisms by which operators control a running consumer.
var controls = []mutant{
	{
		id: "pause-obeyed", mechanism: "records wait while the consumer is paused",
		file: "internal/engine/gate.go", find: "if w.engine.gate.isOpen() {", put: "if true {",
		checker: e2e("TestPausedGroupStandsStill/shared"), says: "events took effect in the pause",
	},
	{
		id: "pause-obeyed-by-lanes", mechanism: "so do those that lanes have queued",
		file: "internal/engine/lanes.go", find: "if !w.mayBegin(l.lost) {", put: "if l.lost.Err() != nil {",
		checker: e2e("TestPausedGroupStandsStill/lanes"), says: "events took effect in the pause",
	},
	{
		id: "pause-between-attempts", mechanism: "a record is not tried again while the consumer is paused, whatever has failed",
		file: "internal/engine/attempt.go", find: "if !w.mayBegin(revoked) {", put: "if revoked.Err() != nil {",
		checker: e2e("TestPauseBetweenAttempts/failure_single"), says: "waited in vain for the member to stand still",
	},
	{
		id: "pause-between-tries-of-batches", mechanism: "nor a batch",
		file: "internal/engine/batch.go", find: "len(batch))\n\t\t\tif !w.mayBegin(revoked) {", put: "len(batch))\n\t\t\tif revoked.Err() != nil {",
		checker: e2e("TestPauseBetweenAttempts/transient_batch"), says: "waited in vain for the member to stand still",
	},
	{
		id: "pause-before-the-first-fetch", mechanism: "a member that starts in a pause notes no start",
		file: "internal/engine/partition.go", find: "if !w.engine.gate.wait(revoked) {", put: "if revoked.Err() != nil {",
		checker: e2e("TestMemberThatStartsInAPause/single"), says: "it is noted that somebody began with offset 1",
	},
	{
		id: "pause-of-replays", mechanism: "replays wait while the consumer is paused",
		file: "internal/engine/replay.go", find: "revoked.Err() == nil && w.engine.gate.isOpen()", put: "revoked.Err() == nil",
		checker: e2e("TestReplaysWaitInAPause"), says: "in the pause the dead letter is",
	},
	{
		id: "pause-held-without-postgresql", mechanism: "a pause holds while PostgreSQL does not answer",
		file: "internal/engine/gate.go", find: "pause, err := e.guard.Paused(asking)\n\tif err == nil {", put: "pause, err := e.guard.Paused(asking)\n\tif true {",
		checker: e2e("TestPauseOutlivesAnOutageOfPostgres"), says: "waited in vain for a line that nobody can tell of the pause",
	},
	{
		id: "paused-is-healthy", mechanism: "a paused consumer is ready",
		file: "health/health.go", find: "p.State == consume.Paused && p.Pause != consume.PauseOperator", put: "p.State == consume.Paused",
		checker: in("health", "TestProbes"), says: "a_pause_by_an_operator",
	},
	{
		id: "skip-at-the-checkpoint", mechanism: "no record is skipped but the one at the checkpoint",
		file: "ops/checkpoint_skip.go", find: ", Standing: &plan.Offset,", put: ",",
		checker: in("ops", "TestSkipOfARecordThatIsNotTheNext"), says: "again: <nil>",
	},
	{
		id: "discard-what-was-seen", mechanism: "no dead letter is discarded that somebody else has sent to replay since it was looked at",
		file: "db/dead_letters.sql.go", find: "d.state OPERATOR(pg_catalog.=) s.state AND d.state", put: "d.state",
		checker: in("ops", "TestDeadLettersThatHaveChangedSinceThePlan"), says: "discard: it is discarded, want replay",
	},
	{
		id: "discard-from-the-end", mechanism: "dead letters that are discarded in parts release none of the later parts",
		file: "ops/deadletter_change.go", find: "cmp.Compare(b.Offset, a.Offset)", put: "cmp.Compare(a.Offset, b.Offset)",
		checker: in("ops", "TestDiscardReleasesNothingOfItsPlan"), says: "changed 2000, unchanged 1",
	},
	{
		id: "rebind-what-was-seen", mechanism: "a consumer is not bound anew if it belongs to another group than was looked at",
		file: "db/consumers.sql.go", find: " AND COALESCE(bound_cluster, '') OPERATOR(pg_catalog.=) $4::pg_catalog.text AND COALESCE(bound_group, '') OPERATOR(pg_catalog.=) $5::pg_catalog.text",
		put:     " AND $4::pg_catalog.text OPERATOR(pg_catalog.>=) '' AND $5::pg_catalog.text OPERATOR(pg_catalog.>=) ''",
		checker: in("ops", "TestRebindOfAConsumerThatIsBoundSince"), says: "a group came first: <nil>",
	},
	{
		id: "delete-what-was-counted", mechanism: "a consumer is not deleted with more than was counted",
		file: "ops/delete.go", find: "if of.now > of.counted {", put: "if false && of.now > of.counted {",
		checker: in("ops", "TestDeletionOfMoreThanWasCounted"), says: "<nil>, want ops: changed meanwhile",
	},
	{
		id: "migrate-down-as-planned", mechanism: "no migration is taken back that the plan does not know",
		file: "ops/migrate.go", find: "if plan.To < r.Version && plan.From < r.Version {", put: "if false && plan.To < r.Version {",
		checker: in("ops", "TestMigrationThatWouldTakeBackMoreThanPlanned"), says: "up: <nil>, want ops: changed meanwhile",
	},
}
