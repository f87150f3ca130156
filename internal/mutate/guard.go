package main

import "time"

// guard are the mechanisms of idem: claims, outcomes, hooks.
var guard = []mutant{
	{
		id: "claim-decides", mechanism: "the answer to the claim decides whether the handler runs",
		file: "idem/process.go", find: "if !got.isNew(c) {", put: "if !got.isNew(c) && c.key == uuid.Nil {",
		checker: in("idem", "TestProcessIfNew"), says: "want already processed",
	},
	{
		id: "commit-taken-for-done", mechanism: "the outcome of a lost COMMIT is looked up: taken for committed",
		file: "idem/process.go", find: "resolved, resolveErr := g.resolve(ctx, c)", put: "resolved, resolveErr := Processed, error(nil)",
		checker: in("idem", "TestCommitWithoutAnswer"), says: "processed is false and it took effect",
	},
	{
		id: "commit-taken-for-undone", mechanism: "the same: taken for rolled back",
		file: "idem/process.go", find: "resolved, resolveErr := g.resolve(ctx, c)", put: "resolved, resolveErr := Outcome(0), ErrNotFound",
		checker: in("idem", "TestCommitWithoutAnswer"), says: "got already processed, <nil>; want processed",
	},
	{
		id: "commit-not-waited-for", mechanism: "the same: looked up without waiting for the transaction",
		file: "idem/claim.go", find: "outcome, err = g.probe(ctx, c)",
		put: `err = g.onConn(ctx, func(conn db.DBTX) error {
				event, err := g.queries.EventGet(ctx, conn, db.EventGetParams{ConsumerID: g.consumer, Key: c.key})
				switch {
				case errors.Is(err, pgx.ErrNoRows):
					return ErrNotFound
				case err == nil && event.ClaimID == c.claimID:
					outcome = Processed
				case err == nil:
					outcome = AlreadyProcessed
				}

				return err
			})`,
		checker: in("idem", "TestSlowCommitWithoutAnswer"), says: "got already processed, <nil>; want processed",
	},
	{
		id: "commit-of-a-replay", mechanism: "the COMMIT of a replay is resolved: its mark is not somebody else's claim",
		file: "idem/claim.go", find: "case replaced.is(event.ClaimID):", put: "case false && replaced.is(event.ClaimID):",
		checker: in("idem", "TestReplayCommitOfUnknownOutcome|TestReplayCommitWithoutAnswer"), says: "got already processed, <nil>; want processed",
	},
	{
		id: "replay-claims-anew", mechanism: "a replay claims its event anew",
		file: "idem/claim.go", find: "if c.replaces == nil {", put: "if c.replaces == nil || true {",
		checker: in("idem", "TestReplayedEventIsRememberedFromItsReplay"), says: "already processed",
	},
	{
		id: "record-marked-by-content", mechanism: "a record without an event id is marked by place and content, whoever stores it",
		file: "idem/deadletter.go", find: `hex.EncodeToString(content.Sum(nil)[:8])`, put: `hex.EncodeToString(content.Sum(nil)[:8]) + uuid.NewString()`,
		checker: in("idem", "TestRecordWithoutEventIDHasOneDeadLetter"), says: "by the next owner: got processed, <nil>; want already processed",
	},
	{
		id: "letter-with-its-mark", mechanism: "a dead letter is stored in the transaction that marks its event",
		file: "idem/deadletter_store.go", find: "g.queries.DeadLetterInsert(ctx, conn, params)", put: "g.queries.DeadLetterInsert(ctx, g.names.on(g.pool), params)",
		checker: in("idem", "TestDeadLetterIsStoredWithItsMarkOnly"), says: "1 dead letters and 0 marked events",
	},
	{
		id: "one-dead-letter-of-a-record", mechanism: "a record has one unresolved dead letter",
		file: "idem/deadletter.go", find: "Key: c.key, ClaimID: nullable(c.claimID)", put: "Key: uuid.New(), ClaimID: nullable(c.claimID)",
		checker: in("idem", "TestRecordWithoutEventIDHasOneDeadLetter"), says: "want one dead letter",
	},
	{
		id: "parked-handed-on", mechanism: "the next parked dead letter is handed on",
		file:    "idem/deadletter_replay.go",
		find:    "_, err = g.queries.DeadLetterRelease(ctx, conn, db.DeadLetterReleaseParams{ConsumerID: g.consumer, Ids: ids})",
		put:     "err = nil",
		checker: in("idem", "TestParkedDeadLettersKeepTheirOrder"), says: "want a2",
	},
	{
		id: "parked-behind-a-held-one", mechanism: "a record is parked by a transaction that holds the one in front",
		file: "idem/deadletter_store.go", find: "g.queries.DeadLetterParkBehind(ctx, conn,", put: "g.queries.DeadLetterParkBehind(ctx, g.names.on(g.pool),",
		checker: in("idem", "TestDiscardWhileARecordIsParkedBehind"), says: "nobody hands the parked record on",
	},
	{
		id: "first-of-a-key-held", mechanism: "who resolves a dead letter holds the first one of its key",
		file: "db/dead_letters.sql.go", find: "ORDER BY d.record_offset, d.id LIMIT 1 FOR UPDATE) f\n", put: "ORDER BY d.record_offset, d.id LIMIT 1) f\n",
		checker: in("idem", "TestNoParkedDeadLetterIsOrphaned"), says: "deadlocks",
	},
	{
		id: "parked-by-offset", mechanism: "parked dead letters are ordered by offset, not by id",
		file: "db/dead_letters.sql.go",
		find: "ORDER BY d.record_offset, d.id LIMIT 1 FOR UPDATE) f WHERE f.state", put: "ORDER BY d.id LIMIT 1 FOR UPDATE) f WHERE f.state",
		checker: in("idem", "TestOrderOfParkedDeadLettersDoesNotFollowTheirIDs"), says: "next was",
	},
	{
		id: "index-of-replays", mechanism: "an index holds what is to be replayed, and nothing else",
		file: "schema/00003_dead_letters.sql",
		find: "WHERE state = 'replay';\n\n-- The unresolved", put: ";\n\n-- The unresolved",
		checker: in("idem", "TestPollingDoesNotReadWhatWaits"), says: "polling reads",
	},
	{
		id: "own-late-pipeline", mechanism: "`ExecIfNew` tells its own late pipeline from others",
		file: "idem/exec.go", find: "if outcome == AlreadyProcessed && unanswered {", put: "if false && unanswered {",
		checker: in("idem", "TestExecIfNewLatePipeline"), says: "got already processed, <nil>; want processed",
	},
	{
		id: "own-late-mark", mechanism: "`MarkProcessed` tells its own late claim from others",
		file: "idem/exec.go", find: "if outcome == AlreadyProcessed && unanswered {", put: "if false && unanswered {",
		checker: in("idem", "TestMarkProcessedLateClaim"), says: "its own late claim: got already processed, <nil>; want processed",
	},
	{
		id: "mark-resolved", mechanism: "`MarkProcessed` looks up the outcome of a lost answer",
		file: "idem/mark.go", find: "case !refused(stageBegin, closed, err):", put: "case false && refused(stageBegin, closed, err):",
		checker: in("idem", "TestMarkProcessedWithoutAnswer"), says: "got already processed, <nil>; want processed",
	},
	{
		id: "mark-cancelled", mechanism: "`MarkProcessed` asks the server to cancel when the context ends",
		file: "idem/exec.go", find: "_ = conn.PgConn().CancelRequest(longer)", put: "_ = conn.PgConn()",
		checker: in("idem", "TestMarkProcessedContextThatEnds"), says: "want the context's error",
	},
	{
		id: "unique-violation-of-the-claim", mechanism: "`ExecIfNew` takes 23505 for a duplicate in the claim's place alone",
		file: "idem/exec.go", find: `case reached == stageClaim && errors.As(err, &pgErr) && pgErr.Code == "23505":`, put: `case errors.As(err, &pgErr) && pgErr.Code == "23505":`,
		checker: in("idem", "TestExecIfNewIsAtomicInAllModes"), says: "unique: already processed, <nil>",
	},
	{
		id: "savepoint-before-commit", mechanism: "`ExecIfNew` has a savepoint before the COMMIT",
		file: "idem/exec.go", find: `p.batch.Queue("SAVEPOINT idem")`, put: `p.batch.Queue("SELECT 1")`,
		checker: in("idem", "TestExecIfNewNoticesATransactionThatHasEnded"), says: "processed, <nil>",
	},
	{
		id: "pipeline-cannot-commit", mechanism: "statements of `ExecIfNew` that would end the transaction are not sent",
		file: "idem/exec.go", find: "refuseEnd(query.SQL)", put: `refuseEnd("")`,
		checker: in("idem", "TestExecIfNewStatementsCannotEndTheTransaction"), says: "ROLLBACK AND CHAIN: processed, <nil>",
	},
	{
		id: "sql-qualified", mechanism: "names of the generated SQL are qualified (`internal/qualifysql`)",
		file: "db/processed_events.sql.go", find: "pg_catalog.unnest($1::pg_catalog.text[]) AS key, pg_catalog.unnest($4::", put: "unnest($1::pg_catalog.text[]) AS key, pg_catalog.unnest($4::",
		checker: in("idem", "TestProcessBatch"), says: "cannot cast type boolean to uuid",
	},
	{
		id: "locked-rows-skipped", mechanism: "cleanup skips locked rows",
		file: "db/processed_events.sql.go", find: "FOR UPDATE OF e SKIP LOCKED", put: "FOR UPDATE OF e",
		checker: in("idem", "TestCleanupPassesByLockedRows"), says: "rows are locked",
	},
	{
		id: "delete-alone", mechanism: "cleanup's DELETE is a transaction of its own",
		file: "idem/cleanup.go",
		find: "rows, err = c.queries.EventDeleteExpired(ctx, c.names.on(c.pool), db.EventDeleteExpiredParams{FromBlock: from, ToBlock: to})",
		put: `tx, err := c.pool.Begin(ctx)
			if err == nil {
				defer tx.Rollback(ctx)
				rows, err = c.queries.EventDeleteExpired(ctx, c.names.on(tx), db.EventDeleteExpiredParams{FromBlock: from, ToBlock: to})
			}
			if err == nil {
				err = tx.Commit(ctx)
			}`,
		checker: in("idem", "TestFrozenCleanerHoldsNobody"), says: "that a frozen cleaner has deleted",
	},
	{
		id: "cleanup-row-missing", mechanism: "a cleanup that cannot lead looks whether the row is there that it locks",
		file: "idem/cleanup.go", find: "case !found:", put: "case false && !found:",
		checker: in("idem", "TestCleanupWithoutTheRowThatItLocks"), says: "Complete:false Leader:}, <nil>",
	},
	{
		id: "heap-only", mechanism: "cleanup refuses tables without heap order",
		file: "idem/cleanup.go", find: `case heap.Kind != "r":`, put: "case heap.Blocks >= 0:\n\t\treturn heap.Blocks, nil\n\tcase heap.Kind != \"r\":",
		checker: in("idem", "TestCleanupRefusesWhatItCannotScan"), says: "Complete:true Leader:}, <nil>",
	},
	{
		id: "statements-lost", mechanism: "lost prepared statements are retried",
		file: "idem/transient.go", find: `pgErr.Code == "26000" && (`, put: `pgErr.Code == "26001" && (`,
		checker: in("idem", "TestLostPreparedStatements"), says: "does not exist (SQLSTATE 26000)",
	},
	{
		id: "role-of-the-claim", mechanism: "the role of the claim is taken up again for the handler's duration",
		file: "idem/process.go", find: "err := g.queries.RoleOfGuard(ctx, conn)", put: "var err error",
		checker: in("idem", "TestHandlerThatSetsItsRole"), says: "permission denied for schema idem",
	},
	{
		id: "older-tables", mechanism: "`Register` refuses tables of an older release",
		file: "idem/consumer.go", find: "case version < schema.Version:", put: "case version < 0:",
		checker: in("idem", "TestServiceRefusesOlderTables"), says: "Register: <nil>",
	},
	{
		id: "closed-consumers", mechanism: "`Register` refuses consumers that are being renamed",
		file: "idem/consumer.go", find: "case row.Closed != nil:", put: "case false && row.Closed != nil:",
		checker: in("cmd/idemctl/internal/cli", "TestInterruptedRenameGoesOn"), says: "old: <nil>",
	},
	{
		id: "id-of-the-name", mechanism: "a consumer's id follows from its name",
		file: "idem/consumer.go", find: `"idem.consumer\x00" + name`, put: `"idem.consumer\x01" + name`,
		checker: in("idem", "TestProcessIfNew"), says: `violates check constraint "consumers_id_of_name"`,
	},
	{
		id: "key-as-in-sql", mechanism: "a key is the same in Go and in SQL: UUIDs of version 8 are hashed, too",
		file: "idem/key.go", find: "len(id) != 36 || id[14] == '8' ||", put: "len(id) != 36 ||",
		checker: in("idem", "TestKey|TestKeyIsTheSameInSQL"), says: "has the same key",
	},
	{
		id: "retention-agreed-once", mechanism: "the retention is compared when a guard first registers, not at each `Acquire`",
		file: "idem/consumer.go", find: "want != registered && !g.agreed.Load():", put: "want != registered:",
		checker: in("idem", "TestRetentionIsChangedWhileTheServiceRuns"), says: "acquired: idem: acquire orders/3: idem: register consumer:",
	},
	{
		id: "handler-cannot-commit", mechanism: "statements of a handler that would end the transaction are not sent",
		file: "idem/handlertx.go", find: "if endsTransaction(sql) {", put: "if endsTransaction(sql) && sql == \"\" {",
		checker: in("idem", "TestHandlerCannotEndTheTransactionBySQL"), says: "FAIL: TestHandlerCannotEndTheTransactionBySQL",
	},
	{
		id: "collision-told", mechanism: "an event that comes again with another payload is told",
		file: "idem/duplicate.go", find: "Fingerprint(claim.Fingerprint) != d.fingerprint:", put: "false:",
		checker: in("idem", "TestCollisionIsTold"), says: "another payload: already processed, <nil>",
	},
	{
		id: "duplicate-by-checkpoint", mechanism: "a record before the checkpoint is told as redelivered",
		file: "idem/process.go", find: "c.tell(DuplicateRedelivered)", put: "c.tell(DuplicateUnknown)",
		checker: in("idem", "TestKindsOfDuplicates"), says: `before the checkpoint: "unknown", want "redelivered"`,
	},
	{
		id: "duplicate-by-place", mechanism: "the place of a claim tells whether it is of the same record",
		file: "idem/duplicate.go", find: "claim.RecordOffset} != place:", put: "claim.RecordOffset} == place:",
		checker: in("idem", "TestKindsOfDuplicates"), says: `read again, with its place: "produced again", want "redelivered"`,
	},
	{
		id: "duplicate-since-acquired", mechanism: "a claim since the owner has the partition is of another record",
		file: "idem/duplicate.go", find: "return claim.ProcessedMicros >= c.acquired.Load()", put: "return false",
		checker: in("idem", "TestKindsOfDuplicates"), says: `claimed since: "unknown", want "produced again"`,
	},
	{
		id: "duplicate-before-acquired", mechanism: "a claim before the owner had the partition may be of the same record",
		file: "idem/duplicate.go", find: "return claim.ProcessedMicros >= c.acquired.Load()", put: "return true",
		checker: in("idem", "TestKindsOfDuplicates"), says: `claimed before the owner had the partition: "produced again", want "unknown"`,
	},
	{
		id: "duplicate-after-a-reset", mechanism: "after a reset of its checkpoint an owner may see a record again",
		file: "idem/owner.go", find: "o.acquired.Store(math.MaxInt64)", put: "_ = o.acquired.Load()",
		checker: in("idem", "TestKindsOfDuplicates"), says: `read again: "produced again", want "unknown"`,
	},
	{
		id: "lock-of-its-own", mechanism: "a partition has a lock of its own",
		file: "idem/partition.go", find: "\tname = binary.BigEndian.AppendUint32", put: "\t_ = binary.BigEndian.AppendUint32",
		checker: in("idem", "TestAcquireLeavesOtherPartitionsAlone"), says: "the event: got none",
	},
	{
		id: "batch-commit-of-its-own", mechanism: "a batch whose COMMIT is lost is not taken for processed with one of its events, which another call has processed",
		file: "idem/batch.go", find: "case outcome != Processed:", put: "case outcome != Processed && resolveErr != nil:",
		checker: in("idem", "TestBatchCommitWithoutAnswerWhileAnotherWaits"), says: "effects [b]",
	},
	{
		id: "claim-within-its-handler", mechanism: "a handler does not claim its own event again",
		file: "idem/within.go", find: "if !r.ended.Load() && ", put: "if false && ",
		checker: in("idem", "TestEventClaimedInItsHandler/ClaimTx"), says: "got <nil>",
	},
	{
		id: "batch-ended-by-its-handler", mechanism: "a batch whose handler has ended its transaction is not tried again in parts",
		file: "idem/batch.go", find: "return !handlerErr.transient && !handlerErr.ended", put: "return !handlerErr.transient",
		checker: in("idem", "TestBatchHandlerThatEndsTheTransactionByItsConnection"), says: "AA, <nil> after 1 runs",
	},
	{
		id: "duplicate-in-a-batch", mechanism: "an id that stands twice in a batch of records was produced again",
		file: "idem/batch.go", find: "again && kind != DuplicateCollision && p.batch.ordered {", put: "again && false {",
		checker: in("idem", "TestKindsWithinABatch"), says: "Duplicate:unknown",
	},
	{
		id: "hooks-ended", mechanism: "hooks are ended behind a panic",
		file: "idem/process.go", find: "defer func() { hook.end(hooked, op, HandlerEnd{err}) }()\n\terr = run(within)",
		put:     "err = run(within)\n\thook.end(hooked, op, HandlerEnd{err})",
		checker: in("idem", "TestHooksOfAHandlerThatDoesNotReturn"), says: "H< process a 1 P> none other",
	},
	{
		id: "results-cleared", mechanism: "the results of a batch are cleared behind a panic",
		file: "idem/batch.go", find: "clear(results)", put: "_ = results",
		checker: in("idem", "TestHooksOfAHandlerThatDoesNotReturn"), says: "B> P other",
	},
	{
		id: "unset-hooks", mechanism: "unset hooks allocate nothing",
		file: "idem/hooks.go", find: "if h.Begin == nil {\n\t\treturn ctx\n\t}", put: "if h.Begin == nil {\n\t\treturn context.WithoutCancel(ctx)\n\t}",
		checker: in("idem", "TestUnsetHooksAllocateNothing"), says: "allocations",
	},
	{
		id: "values-cut-in-the-log", mechanism: "long values are cut in the log (`internal/boundedlog`)",
		file: "internal/boundedlog/boundedlog.go", find: "if len(text) <= maxBytes {\n\t\treturn text", put: "if len(text) >= 0 {\n\t\treturn text",
		checker: in("e2e", "TestLongEventIDIsNotALongLogLine"), says: "a log line of",
	},
	{
		id: "unverified-connections", mechanism: "unverified connections are warned of",
		file: "internal/unverified/unverified.go", find: `lacks = "the server's certificate is not verified"`, put: `lacks = ""`,
		checker: in("idem", "TestUnverifiedConnectionWarnsOnce"), says: `want "certificate is not verified"`,
	},
}

// owners are the mechanisms of idem that keep a partition's records in order and its owners apart.
var owners = []mutant{
	{
		id: "checkpoint-compared", mechanism: "the checkpoint is compared with what its owner saw (`=`, not `<=`)",
		file: "db/checkpoints.sql.go", find: "next_offset OPERATOR(pg_catalog.=) $9 AND next_offset", put: "next_offset OPERATOR(pg_catalog.<=) $9 AND next_offset",
		checker: in("idem", "TestDatabaseGoesBackUnderAnOwner"), says: "after the database went back: <nil>, want ErrRewound",
	},
	{
		id: "acquisition-answered-late", mechanism: "an acquisition whose answer was lost keeps what it found out",
		file: "idem/acquire.go", find: "o.isNew = o.isNew && former[0].OwnerToken.UUID.String() == o.Token()", put: "o.isNew = false",
		checker: in("idem", "TestAcquireWithoutAnswer"), says: "new false, want true",
	},
	{
		id: "reset-remembered", mechanism: "owners know for good that an operator has set the checkpoint",
		file: "db/checkpoints.sql.go", find: "reset_epoch = p.epoch OPERATOR(pg_catalog.+) 1, owner_token = NULL, topic", put: "owner_token = NULL, topic",
		checker: in("idem", "TestResetIsRemembered"), says: "behind an operator's reset: epoch 4 after 2, reset since false",
	},
	{
		id: "own-reset-remembered", mechanism: "the same, of an owner's `Reset`",
		file: "db/checkpoints.sql.go", find: "reset_epoch = p.epoch OPERATOR(pg_catalog.+) 1, owner_token = $6", put: "owner_token = $6",
		checker: in("idem", "TestResetIsRemembered"), says: "behind Reset: epoch 7 after 5, reset since false",
	},
	{
		id: "lanes-compared", mechanism: "the lanes' checkpoints are compared",
		file: "db/checkpoints.sql.go", find: "lanes.ahead OPERATOR(pg_catalog.=) pg_catalog.cardinality", put: "lanes.ahead OPERATOR(pg_catalog.<=) pg_catalog.cardinality",
		checker: in("idem", "TestDatabaseGoesBackUnderLanes"), says: "got <nil>, want ErrRewound",
	},
	{
		id: "partition-held", mechanism: "a partition is held by its transactions",
		file: "idem/checkpoint.go", find: "_ = g.queries.PartitionHold(ctx, g.names.on(tables.Queuer{Batch: &b.first}), o.lockKey)", put: "_, _ = tables.Queuer{}, o.lockKey",
		checker: in("idem", "TestAcquireEndsTheFormerOwnersTransaction"), says: "panic: test timed out after 20s", limit: 20 * time.Second,
	},
	{
		id: "reset-seen", mechanism: "a checkpoint is set only where it stands no earlier than its owner has seen it",
		file: "db/checkpoints.sql.go", find: "p.next_offset OPERATOR(pg_catalog.>=) $9", put: "$9::bigint IS NOT NULL",
		checker: in("idem", "TestNothingIsSetOverLostCommits/Reset"), says: "want ErrRewound",
	},
	{
		id: "reset-once", mechanism: "a try of `Reset` that comes late changes nothing",
		file: "db/checkpoints.sql.go", find: "p.owner_token OPERATOR(pg_catalog.=) $5::pg_catalog.text::pg_catalog.uuid AND p.next", put: "p.owner_token IN ($5::pg_catalog.text::pg_catalog.uuid, $6::pg_catalog.text::pg_catalog.uuid) AND p.next",
		checker: in("idem", "TestResetThatComesLate"), says: "want 120",
	},
	{
		id: "lanes-seen", mechanism: "lanes begin only where the checkpoint stands no earlier than its owner has seen it",
		file: "db/checkpoints.sql.go", find: " AND c.next_offset OPERATOR(pg_catalog.>=) $1::bigint FOR", put: " FOR",
		checker: in("idem", "TestNothingIsSetOverLostCommits/Lanes"), says: "want ErrRewound",
	},
	{
		id: "lanes-once", mechanism: "a try of `Lanes` that comes late changes nothing",
		file: "db/checkpoints.sql.go", find: "l.epoch OPERATOR(pg_catalog.>=) excluded.epoch, false)", put: "l.epoch OPERATOR(pg_catalog.<) excluded.epoch, false)",
		checker: in("idem", "TestLanesThatComeLate"), says: "behind 1 tries that come late",
	},
	{
		id: "token-compared", mechanism: "the owner's token is compared where the checkpoint is advanced",
		file: "db/checkpoints.sql.go", find: "owner_token OPERATOR(pg_catalog.=) $8::pg_catalog.text::pg_catalog.uuid AND next_offset", put: "$8::pg_catalog.text IS NOT NULL AND next_offset",
		checker: in("idem", "TestFormerOwnerIsFenced"), says: "want ErrFenced",
	},
	{
		id: "token-read-at-once", mechanism: "a former owner does not wait for the present one's transaction to learn that it is one",
		file: "idem/checkpoint.go", find: "if err := o.verify(ctx, conn); err != nil {", put: "if err := o.verify(ctx, conn); err != nil && false {",
		checker: in("idem", "TestFormerOwnerDoesNotWaitForThePresentOne"), says: "want ErrFenced",
	},
	{
		id: "token-asked", mechanism: "the owner's token is asked where the checkpoint stays",
		file: "db/processed_events.sql.go", find: "AND owner_token OPERATOR(pg_catalog.=) $4::pg_catalog.text::pg_catalog.uuid FOR SHARE", put: "AND $4::pg_catalog.text IS NOT NULL FOR SHARE",
		checker: in("idem", "TestReplayHoldsThePartition"), says: "the former owner: processed, <nil>",
	},
	{
		id: "advance-goes-on", mechanism: "the advance after one whose answer was lost goes on from where that one came",
		file: "idem/owner.go", find: "o.passed(at) // An earlier", put: "// An earlier",
		checker: in("idem", "TestAdvanceGoesOnAfterOneWhoseAnswerWasLost"), says: "the checkpoint was moved by an earlier call",
	},
	{
		id: "lanes-made-under-lock", mechanism: "the checkpoint is locked while its owner makes lanes",
		file: "db/checkpoints.sql.go", find: " FOR UPDATE OF c ON CONFLICT", put: " ON CONFLICT",
		checker: in("idem", "TestLanesOfAFormerOwnerAreFenced"), says: "a lane of the former owner: <nil>, want ErrFenced",
	},
	{
		id: "hold-locks-the-checkpoint", mechanism: "a hold locks the checkpoint, for snapshots that are older than its owner",
		file: "db/processed_events.sql.go", find: "::pg_catalog.uuid FOR SHARE)", put: "::pg_catalog.uuid)",
		checker: in("idem", "TestReplayOfAFormerOwnerWithAnOldSnapshot"), says: "got <nil>, want ErrFenced",
	},
	{
		id: "own-moves-only", mechanism: "an owner takes a checkpoint for its own move only as far as it has tried",
		file: "idem/owner.go", find: "case next > o.sent.Load():", put: "case false:",
		checker: in("idem", "TestDatabaseGoesBackBehindAReset"), says: "already processed, <nil>; want ErrFenced",
	},
	{
		id: "reset-has-its-token", mechanism: "an owner has another token behind `Reset`, and so notices that the database has lost it",
		file: "idem/owner.go", find: "token, err := newToken()\n\tif err != nil {\n\t\treturn err\n\t}\n\tid :=", put: "token, err := o.Token(), error(nil)\n\tid :=",
		checker: in("idem", "TestDatabaseLosesAReset"), says: "the next records: <nil>, want ErrFenced",
	},
	{
		id: "reset-keeps-the-leader-epoch", mechanism: "`Reset` stores the leader epoch of the record before",
		file: "idem/owner.go", find: "LeaderEpoch: o.leaderEpoch, NextToken: token,", put: "NextToken: token,",
		checker: in("internal/simulation", "TestKnownSeeds"), says: "the record 1-0 was skipped",
	},
	{
		id: "reset-ends-lanes", mechanism: "`Reset` ends the lanes",
		file: "db/checkpoints.sql.go", find: "AND COALESCE(l.owner_token OPERATOR(pg_catalog.=) $5::pg_catalog.text::pg_catalog.uuid, true) AND", put: "AND false AND",
		checker: in("idem", "TestResetEndsLanes"), says: "a lane from before: processed, <nil>; want ErrFenced",
	},
	{
		id: "letter-of-several-records", mechanism: "a dead letter of several records stands at the place of the last one",
		file: "idem/deadletter_store.go", find: "Offset: max(letter.Offset, letter.LastOffset)", put: "Offset: letter.Offset",
		checker: in("idem", "TestDeadLetterOfSeveralRecords"), says: "store: got already processed, <nil>; want processed",
	},
	{
		id: "unfenced-batch-stops", mechanism: "a batch of an unfenced owner stops at the first event that cannot be processed",
		file: "idem/batch.go", find: "ordered: o != nil,", put: "ordered: o != nil && o.fenced(),",
		checker: in("idem", "TestUnfencedOwnersBatch"), says: "PPEP, <nil>; want PPE-",
	},
	{
		id: "no-checkpoint-no-record", mechanism: "a record by its checkpoint is refused where there is none",
		file: "idem/event.go", find: "case e.ByCheckpoint && checkpoint:", put: "case e.ByCheckpoint:",
		checker: in("idem", "TestUnfencedOwnersBatch"), says: "a record without an event id:",
	},
	{
		id: "starts-counted", mechanism: "owners that begin with a record are counted",
		file: "db/checkpoints.sql.go", find: "THEN starts OPERATOR(pg_catalog.+) 1 ELSE 1 END", put: "THEN starts ELSE 1 END",
		checker: in("idem", "TestBeginCounts"), says: "begun with 5: 1 times, <nil>; want 2",
	},
}

// operations are the mechanisms of migrations, ops and idemctl.
var operations = []mutant{
	{
		id: "versions-without-a-sequence", mechanism: "the version table has no sequence",
		file: "schema/migrate/versions.go", find: "version_id bigint PRIMARY KEY,", put: "id serial PRIMARY KEY, version_id bigint NOT NULL,",
		checker: in("idem", "TestSwitchoverByLogicalReplication"), says: `duplicate key value violates unique constraint "idem_migrations_pkey"`,
	},
	{
		id: "search-path-pinned", mechanism: "`search_path` is pinned in migrations",
		file: "schema/00001_consumers_and_processed_events.sql", find: "pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false);", put: "true;",
		checker: in("schema/migrate", "TestHostilePublic"), says: "an object of the schema public was used",
	},
	{
		id: "datestyle-set", mechanism: "`idemctl` sets the `DateStyle` of its sessions, for the migrator",
		file: "cmd/idemctl/internal/cli/connect.go", find: `conn.RuntimeParams["datestyle"] = "ISO"`, put: ``,
		checker: in("cmd/idemctl/internal/cli", "TestStylesOfTheDatabase"), says: "invalid PostgreSQL date/time value",
	},
	{
		id: "watched-before-renamed", mechanism: "a consumer is watched before it is renamed",
		file: "ops/consumer_change.go", find: "if active.Events || active.DeadLetters || active.Leases || before != after {", put: "if false && active.Events && before != after {",
		checker: in("cmd/idemctl/internal/cli", "TestRunningConsumersAreNotChanged"), says: "exit status 0, want 1",
	},
	{
		id: "import-checks-ids", mechanism: "the ids of an import's source are checked",
		file: "ops/import_source.go", find: "case once.IDs < once.Rows:", put: "case once.Rows > 0:\n\t\treturn once.Rows, nil\n\tcase once.IDs < once.Rows:",
		checker: in("cmd/idemctl/internal/cli", "TestImportRefusesWhatItWouldReadInPart"), says: "  imported for orders",
	},
	{
		id: "utf8-only", mechanism: "encodings other than UTF8 are refused before anything is created",
		file: "schema/migrate/migrate.go", find: `if encoding != "UTF8" {`, put: `if encoding == "" {`,
		checker: in("schema/migrate", "TestOtherEncodingsAreRefused"), says: "must have the encoding UTF8, not",
	},
	{
		id: "times-bounded", mechanism: "times are bounded in the queries of `ops`",
		file: "db/checkpoints.sql.go",
		find: "GREATEST(LEAST(p.acquired_at, '9999-12-31 23:59:59+00'::timestamp with time zone), '0001-01-01 00:00:00+00 BC'::timestamp with time zone)", put: "p.acquired_at",
		checker: in("cmd/idemctl/internal/cli", "TestStrangeTimesHideNothing"), says: "cannot convert infinity to",
	},
	{
		id: "own-request-known", mechanism: "`ops.Reprocess` tells its own request from those of others when its COMMIT got no answer",
		file: "ops/reprocess.go", find: "case len(known) > 0 && known[0] == id:", put: "case false:",
		checker: in("ops", "TestRequestWhoseAnswerIsLost"), says: "the record has an unresolved dead letter:",
	},
	{
		id: "request-by-the-partition", mechanism: "a request is judged by the partition, not by its lanes",
		file: "db/checkpoints.sql.go", find: "SELECT next_offset FROM idem.checkpoints WHERE consumer_id OPERATOR(pg_catalog.=) $1 AND topic OPERATOR(pg_catalog.=) $2 AND partition OPERATOR(pg_catalog.=) $3 AND lane OPERATOR(pg_catalog.=) 0",
		put:     "SELECT next_offset FROM idem.checkpoints WHERE consumer_id OPERATOR(pg_catalog.=) $1 AND topic OPERATOR(pg_catalog.=) $2 AND partition OPERATOR(pg_catalog.=) $3 ORDER BY lane DESC",
		checker: in("idem", "TestRequestOfARecordDoesNotLookAtLanes"), says: "a record before the checkpoint: ",
	},
	{
		id: "importers-checked", mechanism: "only `idem` and `ops` import `db`",
		file: "kafkaadapter/memory.go", find: "package kafkaadapter\n", put: "package kafkaadapter\n\nimport _ \"github.com/nova-events/idempotent-consumer/db\"\n",
		checker: checker{pkg: "internal/verify", run: "^TestImporters$", tags: "verify"}, says: "kafkaadapter imports db: services use idem, lease and outbox, operators ops",
	},
}
