package main

import "time"

// The packages of kafkaadapter that most of these are about.
const (
	groupPackage = "kafkaadapter/internal/group"
	fetchPackage = "kafkaadapter/internal/fetch"
)

// membership are the mechanisms of members of a Kafka group.
var membership = []mutant{
	{
		id: "dealt-out-looked-at", mechanism: "the leader looks at what it has dealt out",
		file: "kafkaadapter/topics.go", find: "if g.group.Undealt(counts) {", put: "if false {",
		checker: e2e("TestPartitionsThatWereNotDealtOut"), says: "waited in vain for 20 records to be committed",
	},
	{
		id: "commit-fenced", mechanism: "a commit is fenced by its generation",
		file: "kafkaadapter/internal/group/offsets.go", find: "g.identify(w)", put: "g.member.generation.identify(w)",
		checker: in(groupPackage, "TestOffsets"), says: "a late commit: <nil>",
	},
	{
		id: "join-cut", mechanism: "the connection of a join is cut when the join is interrupted",
		file: "kafkaadapter/internal/wire/conn.go", find: "_ = c.SetDeadline(time.Unix(1, 0))", put: "_ = time.Unix",
		checker: in(groupPackage, "TestJoinIsInterrupted"), says: "FAIL: TestJoinIsInterrupted",
	},
	{
		id: "member-id-kept", mechanism: "the member id is kept before the join that waits",
		file: "kafkaadapter/internal/group/join.go", find: "j, err = m.askToJoin(ctx, subscription)\n\t}", put: "j, err = m.askToJoin(ctx, subscription)\n\t\tif err != nil {\n\t\t\tm.id = \"\"\n\t\t}\n\t}",
		checker: in(groupPackage, "TestJoinIsInterrupted"), says: "it is assigned map[",
	},
	{
		id: "heartbeats-while-dealing", mechanism: "the leader sends heartbeats while it reads the topics",
		file: "kafkaadapter/internal/group/generation.go", find: "go g.beat(beating)",
		put: `go func() {
		for len(g.Assignments) == 0 && beating.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		g.beat(beating)
	}()`,
		checker: in(groupPackage, "TestHeartbeatsAreOnTimeWithManyTopics"), says: "context deadline exceeded",
	},
	{
		id: "static-members-stay", mechanism: "static members do not leave",
		file: "kafkaadapter/internal/group/member.go", find: `if m.id == "" || m.config.InstanceID != "" {`, put: `if m.id == "" {`,
		checker: e2e("TestStaticMemberRestartsWithoutRebalance/inprocess"), says: "the other member began",
	},
	{
		id: "digest", mechanism: "a digest tells a leader that was started again what it had dealt out",
		file: "kafkaadapter/internal/group/join.go", find: "if g.Leader && g.digest == nil && bytes", put: "if g.Leader && g.digest != nil && bytes",
		checker: in(groupPackage, "TestStaticMemberIsBackWithoutRebalance"), says: "knows what was dealt: false, false",
	},
	{
		id: "stable-offsets", mechanism: "stable offsets are required",
		file: "kafkaadapter/internal/group/offsets.go", find: "w.Bytes(1) // stable", put: "w.Bytes(0) // stable",
		checker: e2e("TestOffsetInAnOpenTransactionIsWaitedFor"), says: "waited in vain for the member to tell",
	},
	{
		id: "left-out-partition", mechanism: "a partition that is left out of an answer is an error",
		file: "kafkaadapter/internal/group/offsets.go", find: "err = errLeftOut\n\t}\n\tif err != nil {", put: "_ = errLeftOut\n\t}\n\tif err != nil {",
		checker: in(groupPackage, "TestPartitionMissingInTheAnswerIsAnError"), says: "<nil>",
	},
	{
		id: "lost-connection", mechanism: "a lost connection ends no generation",
		file: "kafkaadapter/internal/group/verdict.go", find: "case t.next == rejoin || t.next == forgot:", put: "case t.next == rejoin || t.next == forgot || t.next == find:",
		checker: e2e("TestConnectionsThatExpire"), says: "generations, ",
	},
	{
		id: "coordinator-found-again", mechanism: "the coordinator is found again",
		file: "kafkaadapter/internal/group/coordinator.go", find: "judge(err).next == find {", put: "judge(err).next == find && r.key < 0 {",
		checker: e2e("TestCoordinatorThatMoves"), says: "records to be committed",
	},
	{
		id: "hanging-member-silenced", mechanism: "a member that hangs sends no heartbeats",
		file: "kafkaadapter/generation.go", find: "g.group.Silence()    // Nor", put: "// Nor",
		checker: e2e("TestHangingLaneIsFenced"), says: "FAIL: TestHangingLaneIsFenced",
	},
	{
		id: "hanging-connection-cut", mechanism: "a connection that hangs is cut by a heartbeat",
		file: "kafkaadapter/internal/group/generation.go", find: "g.member.coordinator.abandon()", put: "_ = g.member.coordinator",
		checker: in(groupPackage, "TestHeartbeatsCutARequestThatHangs"), says: "the generation ended: ",
	},
	{
		id: "no-heartbeats-behind-sync", mechanism: "no heartbeats are sent behind the wait for an assignment",
		file: "kafkaadapter/internal/group/join.go", find: "g.syncing.Lock()\n\tdefer g.syncing.Unlock()", put: "_ = &g.syncing",
		checker: in(groupPackage, "TestHeartbeatsAreNotSentBehindTheWaitForAnAssignment"), says: "the other said",
	},
	{
		id: "failing-commits-told-once", mechanism: "what fails is told at first, and then once a minute",
		file: "internal/onceper/trouble.go", find: "due = t.told.IsZero() || now.Sub(t.told) >= every; due {", put: "due = every > 0; due {",
		checker: in("internal/onceper", "TestTrouble"), says: "told [",
	},
	{
		id: "garbage-stops-nobody", mechanism: "a subscription that cannot be read stops nobody",
		file: "kafkaadapter/internal/group/join.go", find: "\"bytes\", len(one.subscription), \"error\", err)", put: "\"bytes\", len(one.subscription), \"error\", err)\n\n\t\t\treturn nil",
		checker: in(groupPackage, "TestMemberWithGarbageForASubscription"), says: "FAIL: TestMemberWithGarbageForASubscription",
	},
	{
		id: "closed-connections-explained", mechanism: "a broker that closes connections for want of TLS or SASL is explained",
		file: "kafkaadapter/topics.go", find: "c.config.explained(err)", put: "err",
		checker: e2e("TestMissingTLSOrSASLIsExplained"), says: "waited in vain for the setting to be explained",
	},
	{
		id: "cooperative", mechanism: "franzadapter: partitions that stay are not interrupted (a cooperative balancer)",
		file: "franzadapter/config.go", find: "[]kgo.GroupBalancer{kgo.CooperativeStickyBalancer()}", put: "[]kgo.GroupBalancer{kgo.StickyBalancer()}",
		checker: checker{pkg: "e2e", run: "^TestJoiningMemberInterruptsNoPartitionThatStays$/^inprocess$", adapter: "franz"}, says: "a partition that stays stood still for",
	},
}

// fetching are the mechanisms of fetching, decoding and its memory.
var fetching = []mutant{
	{
		id: "aborted-dropped", mechanism: "records of aborted transactions are dropped",
		file: "kafkaadapter/internal/fetch/batch.go", find: "case b.attributes&transactionalBit != 0 && d.aborting[b.producer]:", put: "case false:",
		checker: e2e("TestUncommittedRecordsAreNotDelivered/inprocess"), says: "want 100 events once",
	},
	{
		id: "throttled-is-empty", mechanism: "a throttled answer is taken for an empty one",
		file: "kafkaadapter/internal/fetch/exchange.go", find: "case x.throttle > 0:", put: "case false:",
		checker: in(fetchPackage, "TestThrottledAnswerIsEmpty"), says: "malformed fetch response",
	},
	{
		id: "second-connection-free-soon", mechanism: "the second connection is free soon while a partition may ask",
		file: "kafkaadapter/internal/fetch/source.go", find: "request.hold = min(request.maxHold(), max(s.quiet(now)/2, minHold, time.Duration(len(request.calls))*holdForPartition))", put: "request.hold = request.maxHold()",
		checker: in(fetchPackage, "TestOneConnectionIsFreeSoonWhileAPartitionMayAsk"), says: "are held for 1m0s",
	},
	{
		id: "partitions-take-turns", mechanism: "partitions that got nothing come first",
		file: "kafkaadapter/internal/fetch/source.go", find: "s.queue = append(back, s.queue...)", put: "s.queue = append(s.queue, back...)",
		checker: in(fetchPackage, "TestPartitionsTakeTurns"), says: "next are the partitions",
	},
	{
		id: "abandoned-memory", mechanism: "the memory of a partition that does not wait any more is given back",
		file: "kafkaadapter/internal/fetch/fetcher.go", find: "c.account.release()\n\n\t\treturn nil, err", put: "return nil, err",
		checker: in(fetchPackage, "TestAbandonedPartition"), says: "are taken after all is released",
	},
	{
		id: "throttled-broker-left-alone", mechanism: "no partition sends anything before the throttle time has passed",
		file: "kafkaadapter/internal/fetch/source.go", find: "if left := s.fetcher.quota.left(s.broker); left > 0 {", put: "if left := s.fetcher.quota.left(s.broker); left > 0 && w == nil {",
		checker: in(fetchPackage, "TestThrottledBrokerIsLeftAlone"), says: "asked again after",
	},
	{
		id: "throttle-time-kept", mechanism: "nothing is sent before the throttle time has passed",
		file: "kafkaadapter/internal/fetch/source.go", find: "if left := s.fetcher.quota.left(s.broker); left > 0 {", put: "if left := s.fetcher.quota.left(s.broker); left > 0 && w == nil {",
		checker: e2e("TestThrottledFetchIsNoErrorAndNothingIsSentBefore"), says: "after an answer that said to wait",
	},
	{
		id: "counts-compared", mechanism: "counts in answers are compared with what is there",
		file: "kafkaadapter/internal/wire/reader.go", find: "if n > len(r.Data)/least {", put: "if n > len(r.Data)/least && r.Bad {",
		checker: in("kafkaadapter/internal/wire", "TestCountsAreComparedWithWhatIsThere"), says: "elements, bad: false, false",
	},
	{
		id: "moved-leader-asked-for", mechanism: "the leader is asked for again after `NOT_LEADER_OR_FOLLOWER` and the like",
		file: "kafkaadapter/internal/cluster/leaders.go", find: "if err == nil || !hasMoved(err) {", put: "if err == nil || hasMoved(err) || !hasMoved(err) {",
		checker: in(fetchPackage, "TestLeaderThatHasMovedIsAskedFor"), says: "the leaders were asked for 1 times, want 2",
	},
	{
		id: "partitions-start-one-by-one", mechanism: "partitions that start ask one after the other",
		file: "kafkaadapter/internal/cluster/offsets.go", find: "defer c.starting.pass()", put: "c.starting.pass()",
		checker: in("kafkaadapter/internal/cluster", "TestHeartbeatOvertakesPartitionsThatStart"), says: "requests of partitions",
	},
	{
		id: "asked-for-together", mechanism: "franzadapter: all partitions that want records are asked for in one request",
		file: "franzadapter/pullbroker.go", find: "if got > 0 || reserved > 0 &&", put: "if len(wants) < 50 && got > 0 || len(wants) < 50 && reserved > 0 &&",
		checker: checker{pkg: "e2e", run: "^TestIdlePartitionsAreAllAskedFor$", adapter: "franz"}, says: "at most 50 partitions were asked for at once",
	},
	{
		id: "decoders-panic", mechanism: "a decoder's panic is taken for an unreadable batch",
		file: "kafkaadapter/internal/fetch/batch.go", find: "if reason := recover(); reason != nil {", put: "if reason := any(nil); reason != nil {",
		checker: in(fetchPackage, "TestPanicOfADecoderIsAnError"), says: "panic: runtime error: invalid memory address or nil pointer dereference",
	},
	{
		id: "headers-counted", mechanism: "headers are counted before they are allocated",
		file: "kafkaadapter/internal/fetch/records.go", find: "if d.account.grow(size*headerSize) != nil {", put: "if size < 0 {",
		checker: in(fetchPackage, "TestBatchesBeyondTheBudgetAreUnreadable"), says: "bytes were allocated",
	},
	{
		id: "memory-bounded", mechanism: "no more memory is taken than there is",
		file: "kafkaadapter/internal/fetch/memory.go", find: "if len(m.waiting) > 0 || n > most-m.used {", put: "if len(m.waiting) > 0 {",
		checker: in(fetchPackage, "TestAllWhoWaitForMemoryAreServed"), says: "0 are taken, ",
	},
	{
		id: "reserved-memory", mechanism: "memory that was reserved and is not used is given back",
		file: "kafkaadapter/internal/fetch/memory.go", find: "a.memory.give(a.reserved)", put: "_ = a.reserved",
		checker: in(fetchPackage, "TestAllWhoWaitForMemoryAreServed"), says: "panic: test timed out after 20s", limit: 20 * time.Second,
	},
	{
		id: "lanes-memory", mechanism: "the memory of lanes is given back",
		file: "internal/engine/lanes.go", find: "if release := l.window[completed].release; release != nil {\n\t\t\trelease()", put: "if release := l.window[completed].release; release == nil {\n\t\t\t_ = release",
		checker: e2e("TestPartitionsShareTheMemory"), says: "waited in vain for",
	},
	{
		id: "answer-read-to-its-end", mechanism: "an answer that there is no memory for is read to its end",
		file: "kafkaadapter/internal/fetch/answer.go", find: "a.err = err\n\t\tfrom.skip(size)\n\tdefault:", put: "a.err = err\n\tdefault:",
		checker: in(fetchPackage, "TestAnswerIsReadOnBehindWhatThereIsNoMemoryFor"), says: "the connection is of no use any more",
	},
	{
		id: "negative-lengths", mechanism: "any negative length is null",
		file: "kafkaadapter/internal/fetch/cursor.go", find: "case c.bad || n < 0:", put: "case n < -1:\n\t\tc.fail()\n\n\t\treturn nil\n\tcase c.bad || n < 0:",
		checker: in(fetchPackage, "TestNegativeLengthsAreNull"), says: "malformed fetch response: a record of it",
	},
	{
		id: "snappy-streams", mechanism: "snappy-java streams may follow each other",
		file: "kafkaadapter/internal/fetch/decompress.go", find: "var size int64\n\tfor rest := records; len(rest) > 0; {",
		put: `var size int64
	for rest := records; len(rest) > 0; {
		if len(rest) < len(records) && len(rest) >= xerialHeaderBytes && string(rest[:len(xerial)]) == xerial {
			return nil, io.ErrUnexpectedEOF
		}`,
		checker: in(fetchPackage, "TestConcatenatedSnappyStreams"), says: "malformed fetch response: snappy: unexpected EOF",
	},
	{
		id: "whole-batches", mechanism: "records of a whole batch are where they stand",
		file: "kafkaadapter/internal/fetch/records.go", find: "case whole:", put: "case whole && next < 0:",
		checker: in(fetchPackage, "TestRecordsOfAWholeBatchAreWhereTheyStand"), says: "malformed fetch response: a record at offset 100",
	},
	{
		id: "beyond-the-watermark", mechanism: "offsets beyond the high watermark are refused",
		file: "kafkaadapter/internal/fetch/batch.go", find: "case last >= d.response.HighWatermark:", put: "case false:",
		checker: in(fetchPackage, "TestOffsetsOutsideTheLogMoveNothing"), says: "FAIL: TestOffsetsOutsideTheLogMoveNothing",
	},
	{
		id: "good-before-unreadable", mechanism: "what stands before an unreadable batch is delivered",
		file: "kafkaadapter/internal/fetch/batch.go", find: "if whole > 0 {", put: "if whole < 0 {",
		checker: in(fetchPackage, "TestGoodRecordsComeBeforeTheUnreadableBatch"), says: "malformed fetch response: wrong checksum",
	},
	{
		id: "holes-crossed", mechanism: "holes of compaction are crossed",
		file: "kafkaadapter/internal/fetch/batch.go", find: "d.response.Next, d.response.LeaderEpoch = b.last+1, b.leaderEpoch",
		put: `d.response.LeaderEpoch = b.leaderEpoch
	if n := len(d.response.Messages); n > 0 {
		d.response.Next = d.response.Messages[n-1].Offset + 1
	}`,
		checker: in(fetchPackage, "TestHolesAreCrossed|TestOnlyMarkersMoveOn"), says: "do not lead beyond offset",
	},
	{
		id: "uncounted-taken", mechanism: "franzadapter: what a request's fetch gives back to the budget was taken from it",
		file: "franzadapter/pull.go", find: "p.budget.add(most)", put: "_ = p.budget",
		checker: in("franzadapter", "TestUncountedFetchLeavesTheBudgetAsItWas"), says: "bytes of the budget are used, and nothing is held",
	},
	{
		id: "short-batch", mechanism: "franzadapter: a batch with fewer records than it claims is not passed over",
		file: "franzadapter/records.go", find: "case all.bad || record.bad:\n\t\t\treturn fmt.Errorf(\"%w: a record of it\", errMalformed)", put: "case all.bad || record.bad:\n\t\t\treturn nil",
		checker: in("franzadapter", "TestBatchThatEndsTooEarlyIsNotPassedOver"), says: `decoded "ab`,
	},
	{
		id: "aborted-ends-with-its-marker", mechanism: "franzadapter: an aborted transaction ends with its marker",
		file: "franzadapter/decode.go", find: "delete(d.aborting, b.producer)", put: "_ = d.aborting",
		checker: in("franzadapter", "TestAbortedTransactionEndsWithItsMarker"), says: `decoded "ae" up to 6`,
	},
}
