package main

// e2e is a checker with both adapters' tests.
func e2e(run string) checker { return in("e2e", run) }

// positions are the mechanisms by which a partition goes on in the right place, with one owner.
var positions = []mutant{
	{
		id: "checkpoint-decides", mechanism: "the checkpoint decides at the start, not the group's offset",
		file: "internal/engine/position.go", find: "return next, w.rewound(", put: "return group.Offset, w.rewound(",
		checker: e2e("TestDatabaseWentBackBeforeTheStart/shared"), says: "want 50 once",
	},
	{
		id: "reset-is-no-rewind", mechanism: "an offset from before a reset says nothing of lost commits",
		file: "internal/engine/position.go", find: "group.Offset > next && !reset:", put: "group.Offset > next:",
		checker: e2e("TestResetIsNoRewindThoughOwnersEnd"), says: "waited in vain for the checkpoint to come to the end of the log",
	},
	{
		id: "idle-partitions-looked-at", mechanism: "idle partitions are looked at (`Guard.Attention`)",
		file: "internal/engine/lookout.go", find: "if needed {", put: "if needed && i < 0 {",
		checker: e2e("TestDatabaseThatLosesCommitsOfIdlePartition"), says: "waited in vain for 40 events to take effect",
	},
	{
		id: "lost-tables-refused", mechanism: "no checkpoint but a token: refused",
		file: "internal/engine/position.go", find: "return 0, w.gone(group.Offset)", put: "return group.Offset, nil",
		checker: e2e("TestCheckpointsAreGone"), says: "Run does not return",
	},
	{
		id: "group-ahead-obeyed", mechanism: "the group's offset ahead without a token is obeyed",
		file: "internal/engine/position.go", find: "return group.Offset, w.moveTo(revoked, group.Offset, None, false)", put: "return next, nil",
		checker: e2e("TestOperatorMovesGroupOrCheckpoint"), says: "waited in vain for group forward: 30 effects",
	},
	{
		id: "group-behind-the-checkpoint", mechanism: "the group's offset stays behind the checkpoint",
		file: "internal/engine/partition.go", find: "if !w.checkpoints() || w.owner.Next() >= next {", put: "if next >= 0 {",
		checker: e2e("TestGroupNeverPassesTheCheckpoint/single"), says: "the group is at",
	},
	{
		id: "collision-of-its-own", mechanism: "a collision that a handler got from another guard does not make its record a duplicate",
		file: "internal/engine/attempt.go", find: "return !fromHandler(err) && errors.As", put: "return errors.As",
		checker: e2e("TestErrorsOfOthers/single"), says: "letters",
	},
	{
		id: "disowned-by-its-own-guard", mechanism: "a handler that is fenced by another guard has not lost its partition",
		file: "internal/engine/attempt.go", find: "idem.ErrCheckpointGone)) && !fromHandler(err)", put: "idem.ErrCheckpointGone))",
		checker: e2e("TestErrorsOfOthers/single"), says: "waited in vain for 34 records",
	},
	{
		id: "record-that-ends-run", mechanism: "with StopOnFailure a record ends Run, though a handler got its error from another guard",
		file: "internal/engine/partition.go", find: "return errors.As(err, new(*consume.RecordError))", put: "return false && err == nil",
		checker: e2e("TestErrorsOfOthersEndRun"), says: "Run does not return",
	},
	{
		id: "no-id-beside-an-error", mechanism: "what a strategy returns beside an error is no event id",
		file: "internal/engine/panic.go", find: "return \"\", err", put: "return id, err",
		checker: e2e("TestEventIDBesideAnError/single"), says: `letters ["0 open 0"], want`,
	},
	{
		id: "one-group", mechanism: "a consumer is bound to one group",
		file: "internal/engine/engine.go", find: "return e.guard.Bind(ctx, cluster, e.group)", put: "return nil",
		checker: e2e("TestSecondGroupIsRefused"), says: "Run does not return",
	},
	{
		id: "added-partition", mechanism: "an added partition is read from its beginning",
		file: "internal/engine/position.go", find: "it holds.\n\treturn w.logStart(revoked)", put: "it holds.\n\t_, last, err := w.ends(revoked)\n\n\treturn last, err",
		checker: e2e("TestAddedPartitionStartsAtItsBeginning/with_checkpoints"), says: "waited in vain for 60 events to take effect",
	},
	{
		id: "topics-begin-together", mechanism: "a group begins at once in all topics that match its pattern",
		file: "kafkaadapter/source.go", find: "return topics.Together(s.generation.topics...)", put: "return topics.Together(s.topic)",
		checker: e2e("TestGroupBeginsInAllTopicsOfAPatternAtOnce"), says: "events took effect",
	},
	{
		id: "topics-begun-together", mechanism: "a group that has an offset of one topic that matches its pattern has begun",
		file: "kafkaadapter/generation.go", find: "together: c.config.TopicPattern != nil", put: "together: false",
		checker: e2e("TestGroupOfAPatternThatHasBegunElsewhere"), says: "waited in vain for 10 events to take effect",
	},
	{
		id: "no-mode-behind-lanes", mechanism: "mode `ByCheckpoint` is refused where lanes have processed records beyond the checkpoint",
		file: "idem/acquire.go", find: "if ahead > next {", put: "if ahead < next {",
		checker: e2e("TestModeWithoutEventIDsIsRefusedBehindLanes"), says: "Run does not return",
	},
	{
		id: "smaller-batch", mechanism: "a batch with a transient error is tried again with fewer records",
		file: "internal/engine/batch.go", find: "batch = batch[:w.fits]", put: "w.fits = 0",
		checker: e2e("TestLargeBatchWhoseRecordsFailAtTimes"), says: "waited in vain for 600 records to be committed",
	},
	{
		id: "start-noted", mechanism: "where a group begins is noted for all partitions at once, in mode `ByEventID`, too",
		file: "internal/engine/position.go", find: "case known.Offset != None:", put: "case known.Offset < None:",
		checker: e2e("TestNotedStartServesOnce"), says: "want 10 events once",
	},
	{
		id: "start-served", mechanism: "in mode `ByEventID` the note serves once",
		file: "internal/engine/position.go", find: "if err != nil || known.Offset == None {", put: "if true {",
		checker: e2e("TestNotedStartServesOnce"), says: "want 10 events once",
	},
	{
		id: "start-at-a-time", mechanism: "a group that starts at a time finds its first record (`StartAt`)",
		file: "internal/engine/position.go", find: "if offset != None {\n\t\t\t\tstarts", put: "if offset < None {\n\t\t\t\tstarts",
		checker: e2e("TestStartAtATime"), says: "of partition 0 the offsets",
	},
	{
		id: "start-at-the-end", mechanism: "where all records are older than that time, it starts at the end",
		file: "internal/engine/position.go", find: "starts[number] = p.Last", put: "starts[number] = p.First",
		checker: e2e("TestStartAtATime/inprocess"), says: "of partition 1 the offsets",
	},
	{
		id: "start-committed", mechanism: "a start at the log's end is committed at once",
		file: "internal/engine/position.go", find: "err = w.source.Commit(revoked, w.place(offset))", put: "err = nil",
		checker: e2e("TestAddedPartitionStartsAtItsBeginning/by_event_id"), says: "waited in vain for 10 records to be committed",
	},
	{
		id: "checkpoint-committed", mechanism: "a checkpoint that is ahead of the group is committed at the start",
		file: "internal/engine/position.go", find: "w.done(next) // Else", put: "// Else",
		checker: e2e("TestCheckpointAheadOfTheGroup"), says: "waited in vain for 10 records to be committed",
	},
	{
		id: "leader-epoch", mechanism: "the leader epoch of the checkpoint is compared (KIP-320)",
		file: "internal/engine/outofrange.go", find: "if epoch < 0 {", put: "if epoch < 1<<30 {",
		checker: e2e("TestTruncatedLog"), says: "Run does not return",
	},
	{
		id: "leader-epoch-of-kafka", mechanism: "the same, after an unclean election of Apache Kafka",
		file: "internal/engine/outofrange.go", find: "if epoch < 0 {", put: "if epoch < 1<<30 {",
		checker: e2e("TestUncleanElectionTruncatesTheLog"), says: "Run does not return",
	},
	{
		id: "topic-id", mechanism: "a topic is known by its id",
		file: "kafkaadapter/generation.go", find: ", TopicID: s.topic.ID}", put: "}",
		checker: e2e("TestRecreatedTopic"), says: "Run does not return",
	},
	{
		id: "over-duplicates", mechanism: "the checkpoint is advanced over duplicates",
		file: "internal/engine/partition.go", find: "return w.advance(ctx, w.reached)", put: "return nil",
		checker: e2e("TestModes"), says: "waited in vain for 20 records to be committed",
	},
	{
		id: "checkpoint-set-back", mechanism: "what is done with is taken back when the policy sets the checkpoint back",
		file: "internal/engine/partition.go", find: "w.reached = offset // Else", put: "// Else",
		checker: e2e("TestCheckpointThatIsSetBackStaysThere/1"), says: "the checkpoint is at 20, want 15",
	},
	{
		id: "mode-changed", mechanism: "the checkpoint decides for the last time when the mode is changed to `ByEventID`",
		file: "internal/engine/position.go", find: "if w.config.Mode == consume.ByEventID && !offsetmark.HasToken(group.Metadata) {", put: "if w.config.Mode == consume.ByEventID {",
		checker: e2e("TestModeWithoutCheckpointsGoesOnAtTheCheckpoint"), says: "want 25 once",
	},
	{
		id: "replay-holds-the-partition", mechanism: "a replay holds the partition",
		file: "idem/deadletter_replay.go", find: "c.owner = o", put: "_ = o",
		checker: e2e("TestReplayThatHangsDoesNotHoldThePartition"), says: "waited in vain for",
	},
	{
		id: "request-of-its-event", mechanism: "a request of an event processes no other that has taken its place",
		file: "internal/engine/reprocess.go", find: "case id != asked:", put: "case false:",
		checker: e2e("TestRequestOfAnEventProcessesNoOther"), says: "the request is replayed:",
	},
	{
		id: "request-of-its-topic", mechanism: "a request of a place processes no record of another topic of the name",
		file: "internal/engine/reprocess.go", find: "if known && letter.Partition.TopicID != w.partition.TopicID {", put: "if false {",
		checker: e2e("TestRequestOfAPlaceIsOfItsTopic/both"), says: "the request is replayed:",
	},
	{
		id: "nothing-is-no-proof", mechanism: "an answer without records does not say that the log lacks the record that was asked for",
		file: "internal/engine/reprocess.go", find: "if batch.Next > offset {", put: "if batch.Next >= offset {",
		checker: in("internal/engine", "TestAnswerWithoutRecordsIsNoProof"), says: "over quota, nothing known: the log has no such record",
	},
	{
		id: "lanes-hold-the-partition", mechanism: "lanes hold the partition",
		file: "idem/lanes.go", find: "lockKey: o.lockKey,", put: "lockKey: o.lockKey + 1,",
		checker: e2e("TestHangingLaneIsFenced"), says: "waited in vain for 100 records to be committed",
	},
	{
		id: "owner-ends-former-sessions", mechanism: "the session of a former owner is terminated, so that its partition goes on",
		file: "idem/acquire.go", find: "if time.Now().Before(a.deadline) {", put: "if true {",
		checker: e2e("TestHangingMemberIsFenced/inprocess/keys_and_offsets"), says: "waited in vain for 10 records to be committed",
	},
	{
		id: "in-topic", mechanism: "the topic is a part of the id (`InTopic`)",
		file: "consume/eventid_topics.go", find: `strconv.Itoa(len(record.Topic)) + ":" + record.Topic + ":" + id, nil`, put: `strconv.Itoa(0) + ":" + id, nil`,
		checker: e2e("TestIDsOfSeveralTopics"), says: "100 events took effect 100 times, want 200 events once",
	},
}

// handlers are the mechanisms around handlers, their transactions and what fails in them.
var handlers = []mutant{
	{
		id: "end-of-a-turn", mechanism: "a shared transaction is looked at after each record (`endOfTurn`)",
		file: "internal/engine/shared.go", find: "err = endOfTurn(tx)", put: "err = nil",
		checker: e2e("TestRecordThatFailsInASharedTransactionStandsAlone"), says: "its handler ran",
	},
	{
		id: "ended-turn", mechanism: "no handler runs behind one that has ended the shared transaction",
		file: "internal/engine/shared.go", find: "return errEnded", put: "return nil",
		checker: e2e("TestHandlerThatEndsASharedTransactionEndsRun"), says: "want 60 events once",
	},
	{
		id: "ended-transaction", mechanism: "a handler that ends its transaction ends `Run`",
		file: "idem/process.go", find: "case state == txEnded:", put: "case state == txEnded && err == nil:",
		checker: e2e("TestHandlerThatEndsASharedTransactionEndsRun"), says: "Run does not return",
	},
	{
		id: "place-in-a-shared-transaction", mechanism: "the place of a record that fails in a shared transaction is known",
		file: "internal/engine/shared.go", find: "return &idem.EventError{Index: i, Err: err}\n\t\t}\n\t}\n\n\treturn nil\n}\n\n// endOfTurn", put: "_ = i\n\n\t\t\treturn err\n\t\t}\n\t}\n\n\treturn nil\n}\n\n// endOfTurn",
		checker: e2e("TestRecordThatFailsInASharedTransactionStandsAlone"), says: "its handler ran",
	},
	{
		id: "queue-of-its-own", mechanism: "each record has a queue of its own",
		file: "internal/engine/shared.go", find: "HandleQueue(ctx, &own, m)", put: "HandleQueue(ctx, &queue, m)",
		checker: e2e("TestQueueIsTheRecordsOwn"), says: "1 events took effect 1 times, want 20 events once",
	},
	{
		id: "place-of-a-queued-statement", mechanism: "the place of a queued statement that fails is known",
		file: "internal/engine/shared.go", find: "record = i\n", put: "_ = i\n",
		checker: e2e("TestRecordWhoseQueuedStatementFailsStandsAlone"), says: "its handler ran",
	},
	{
		id: "clean-prefix", mechanism: "the records before one that fails are processed without it",
		file: "internal/engine/batch.go", find: "return done + 1, w.process(revoked, work, records[done], prior)", put: "return len(batch), w.process(revoked, work, records[done], prior)",
		checker: e2e("TestRecordThatFailsInASharedTransactionStandsAlone/an_error"), says: "want 59 events once",
	},
	{
		id: "attempt-of-the-batch-counts", mechanism: "the attempt that failed within a batch counts",
		file: "internal/engine/batch.go", find: "return done + 1, w.process(revoked, work, records[done], prior)", put: "prior = nil\n\n\t\t\t\treturn done + 1, w.process(revoked, work, records[done], prior)",
		checker: e2e("TestRecordThatFailsInASharedTransactionStandsAlone/for_good"), says: "its handler ran 3 times, want 2 at most",
	},
	{
		id: "conflicts-pass", mechanism: "after a deadlock a shared transaction begins with one record again",
		file: "internal/engine/batch.go", find: "w.pace.alone()", put: "_ = w.pace",
		checker: e2e("TestSharedTransactionBeginsWithOneRecordAfterAConflict"), says: "after the conflict the first transaction had",
	},
	{
		id: "time-of-a-shared-transaction", mechanism: "a shared transaction is to take 20 ms at most",
		file: "internal/engine/shared.go", find: "int(sharedAim/each)", put: "int(sharedAim/each)+1<<20",
		checker: e2e("TestSlowRecordsHaveTheirOwnTransactions/slow"), says: "the transactions have processed [1 2 4",
	},
	{
		id: "handler-timeout", mechanism: "`HandlerTimeout`",
		file: "internal/engine/handler.go", find: "if limit == 0 {", put: "if limit >= 0 {",
		checker: e2e("TestHandlerTimeout/shared_elsewhere"), says: "waited in vain for 20 records to be committed",
	},
	{
		id: "slow-handler-told", mechanism: "a handler that does not return is told each minute",
		file: "internal/engine/poolwait.go", find: "n > b.told.Load() {", put: "n > b.told.Load()+n {",
		checker: in("internal/engine", "TestSlowHandlerIsToldOnceAMinute"), says: "FAIL: TestSlowHandlerIsToldOnceAMinute",
	},
	{
		id: "pool-watched", mechanism: "a pool that has no connection to give is told",
		file: "internal/engine/poolwait.go", find: "if now.Sub(p.since) < poolWaitAfter ||", put: "if now.Sub(p.since) >= 0 ||",
		checker: e2e("TestHandlersThatWaitForThePoolAreTold"), says: "told of 0 partitions only",
	},
	{
		id: "copies-for-the-handler", mechanism: "handlers are given copies of the records",
		file: "internal/engine/handler.go", find: "c.bytes = append(c.bytes, b...)\n\n\treturn c.bytes[first:len(c.bytes):len(c.bytes)]", put: "_ = first\n\n\treturn b",
		checker: e2e("TestHandlerOwnsItsRecord/single"), says: "the letter in the table is",
	},
	{
		id: "batch-of-the-handler", mechanism: "batch handlers are given a slice of their own",
		file: "idem/batch.go", find: "fresh := make([]Event, 0, len(p.events))", put: "fresh := p.events[:0]",
		checker: in("idem", "TestBatchHandlerOwnsItsEvents"), says: "FAIL: TestBatchHandlerOwnsItsEvents",
	},
	{
		id: "panics-recovered", mechanism: "panics of handlers are recovered",
		file: "internal/engine/panic.go", find: "if !w.config.LetPanic {", put: "if false {",
		checker: e2e("TestHandlerThatPanics/single"), says: "panic: runtime error: invalid memory address or nil pointer dereference",
	},
	{
		id: "goroutine-of-its-own", mechanism: "a handler that ends its goroutine ends `Run`",
		file: "internal/engine/engine.go", find: "ended(w.rejoins(revoked, err))", put: "if returned {\n\t\t\tended(w.rejoins(revoked, err))\n\t\t}",
		checker: e2e("TestHandlerThatEndsItsGoroutine/single"), says: "Run does not return",
	},
	{
		id: "retries-of-a-minute", mechanism: "a record is tried for longer than a minute",
		file: "consume/retry.go", find: "p.MaxAttempts = cmp.Or(p.MaxAttempts, 10)", put: "p.MaxAttempts = cmp.Or(p.MaxAttempts, 3)",
		checker: e2e("TestOutageOfAnotherServiceMakesNoDeadLetters/single"), says: "dead letters: [",
	},
	{
		id: "transient-uses-no-attempt", mechanism: "`Transient` uses no attempts",
		file: "idem/transient.go", find: "case errors.As(err, &marked):\n\t\treturn true, true", put: "case errors.As(err, &marked):\n\t\treturn false, true",
		checker: e2e("TestTransientErrorOfTheHandler/single"), says: "19 events took effect 19 times, want 20 events once",
	},
	{
		id: "outage-uses-no-attempt", mechanism: "outages of PostgreSQL use no attempts",
		file: "internal/engine/attempt.go", find: "case transient:\n\t\treturn waiting", put: "case transient:\n\t\treturn again",
		checker: e2e("TestTransientErrorOfTheHandler/single"), says: "19 events took effect 19 times, want 20 events once",
	},
	{
		id: "breaker", mechanism: "the breaker holds records of an outage",
		file: "internal/engine/breaker.go", find: "again = w.hold(ctx, a, m, err)", put: "again = false",
		checker: e2e("TestBreakerKeepsAnOutageFromFillingDeadLetters/single"), says: "waited in vain for the breaker to open",
	},
	{
		id: "lanes-emptied", mechanism: "lanes are emptied before the partition is read elsewhere",
		file: "internal/engine/partition.go", find: "if err := w.drainLanes(revoked); err != nil {", put: "if err := revoked.Err(); err != nil {",
		checker: e2e("TestLanesProcessWhatTheyHaveBeforeReadingElsewhere/2"), says: "events took effect",
	},
	{
		id: "record-finished", mechanism: "the record in progress is finished before the member leaves",
		file: "kafkaadapter/generation.go", find: "context.WithCancel(context.WithoutCancel(ctx))", put: "context.WithCancel(ctx)",
		checker: e2e("TestStopFinishesTheRecordInProgress/in_time"), says: "committed 5 records, want 6",
	},
	{
		id: "offset-after-the-transaction", mechanism: "an offset is committed after the transaction of the record before it",
		file: "internal/engine/partition.go", find: "w.source.CommitSoon(w.place(next))", put: "w.source.CommitSoon(w.place(next + 1))",
		checker: e2e("TestStopFinishesTheRecordInProgress/too_late"), says: "committed 6 records, want 5",
	},
}

// suspicions are the mechanisms against records that kill processes.
var suspicions = []mutant{
	{
		id: "owners-that-began-counted", mechanism: "owners that began with a record are counted",
		file: "internal/engine/record.go", find: "case starts > w.config.Failure.MaxStarts &&", put: "case starts < 0 &&",
		checker: e2e("TestRecordThatKillsProcesses/single"), says: "ten processes were killed by one record",
	},
	{
		id: "decoding-noted", mechanism: "what an owner begins to decode is noted",
		file: "internal/engine/fetcher.go", find: "if f.unsuspect {", put: "if f.unsuspect || ctx != nil {",
		checker: e2e("TestBatchThatKillsProcessesThatDecodeIt/single_first"), says: "ten processes were killed by one record",
	},
	{
		id: "suspect-decoded-alone", mechanism: "a suspected batch is decoded alone",
		file: "internal/engine/fetcher.go", find: "return DecodeFirst, nil", put: "return DecodeAll, nil",
		checker: e2e("TestBatchThatKillsProcessesThatDecodeIt/single"), says: "FAIL: TestBatchThatKillsProcessesThatDecodeIt",
	},
	{
		id: "decoded-noted", mechanism: "it is noted that a suspected batch could be decoded",
		file: "internal/engine/suspicion.go", find: "case known.owners < w.config.Failure.MaxStarts || known.decoded:", put: "case known.owners >= 0:",
		checker: e2e("TestRecordThatKillsProcesses/single"), says: "FAIL: TestRecordThatKillsProcesses",
	},
	{
		id: "nothing-ahead-of-a-suspect", mechanism: "nothing is read ahead of a suspected batch",
		file: "internal/engine/fetcher.go", find: "suspected := f.note.owners > 1", put: "suspected := f.note.owners < 0",
		checker: e2e("TestBatchThatKillsProcessesThatDecodeIt/single"), says: "FAIL: TestBatchThatKillsProcessesThatDecodeIt",
	},
	{
		id: "suspect-batch-taken-apart", mechanism: "the records of a batch whose owner was killed are processed one by one",
		file: "internal/engine/suspicion.go", find: "s.isolated = n }", put: "s.isolated = 0 * n }",
		checker: e2e("TestRecordThatKillsProcesses/batches"), says: "FAIL: TestRecordThatKillsProcesses",
	},
}

// letters are the mechanisms of dead letters, as the consumer stores and replays them.
var letters = []mutant{
	{
		id: "start-of-a-replay-taken-back", mechanism: "the start of a replay is taken back after an orderly end",
		file: "internal/engine/replay.go", find: "if err := w.owner.PutBackDeadLetter(ctx, letter); err != nil {", put: "if err := ctx.Err(); err != nil {",
		checker: e2e("TestOrderlyEndsOfReplaysAreNoStarts"), says: "waited in vain for the replay to begin",
	},
	{
		id: "replay-makes-the-id-anew", mechanism: "the event id of a replay is made anew",
		file: "internal/engine/replay.go", find: "if m.EventID, err = w.eventID(m.Record); err != nil {", put: "if _, err = w.eventID(m.Record); err != nil && m.Offset < 0 {",
		checker: e2e("TestDeadLetters/inprocess/keys"), says: "waited in vain for the replays to fail",
	},
	{
		id: "parked-copied-when-it-fails", mechanism: "a parked record that fails in its replay is copied",
		file: "internal/engine/replay.go", find: "if !letter.Copied && !letter.Requested {", put: "if !letter.Copied && letter.Requested {",
		checker: e2e("TestParkedRecordThatFailsInItsReplayIsCopied"), says: "copies of the records [0], want [0 1]",
	},
	{
		id: "copy-not-given-up", mechanism: "a copy is not given up while metadata is missing",
		file: "kafkaadapter/source.go", find: "return err == nil && len(metadata.Topics) == 1 && metadata.Topics[0].Err == nil && metadata.Topics[0].Partitions <= s.partition", put: "return len(metadata.Topics) >= 0",
		checker: e2e("TestDeadLetterIsCopiedAlthoughMetadataIsMissing"), says: "0 copies after",
	},
	{
		id: "parking", mechanism: "a record is parked behind the dead letters of its key",
		file: "idem/parkedkeys.go", find: "_, ok := p[keyHash(key)]\n\n\treturn ok", put: "return false",
		checker: e2e("TestParkedKeys"), says: `want ["1 open 1" "3 open 1" "5 parked 0"`,
	},
	{
		id: "raw-batch-not-replayed", mechanism: "the dead letter of a raw batch is not replayed",
		file: "internal/engine/replay.go", find: "case isRawBatch(letter):", put: "case false:",
		checker: e2e("TestUnreadableBatchIsNotReplayed"), says: "waited in vain for",
	},
}
