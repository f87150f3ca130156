-- name: PartitionHold :exec
-- Every transaction that processes records of a partition holds this lock, so that a new owner waits
-- for it, and knows by pg_locks whose it is. It travels with BEGIN and the claim.
SELECT pg_catalog.pg_advisory_xact_lock_shared(@lock_key::bigint);

-- name: PartitionLimitWait :exec
-- For PartitionHoldAlone and CheckpointLock, in the same transaction.
SELECT pg_catalog.set_config('lock_timeout', @milliseconds::text, true);

-- name: PartitionHoldAlone :exec
-- Waits for the transactions that hold the partition.
SELECT pg_catalog.pg_advisory_xact_lock(@lock_key::bigint);

-- name: PartitionHolders :many
-- The sessions in a transaction that processes records of the partition.
SELECT l.pid::integer AS pid, coalesce(a.usename::text, '')::text AS role, coalesce(a.application_name, '')::text AS application
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND (l.classid::bigint << 32 | l.objid::bigint) = @lock_key::bigint;

-- name: PartitionEndHolder :many
-- Ends such a session, if it still is one.
SELECT pg_catalog.pg_terminate_backend(l.pid) AS ended
FROM pg_catalog.pg_locks l
WHERE l.pid = @pid::integer AND l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND (l.classid::bigint << 32 | l.objid::bigint) = @lock_key::bigint;

-- name: CheckpointLockers :many
-- The sessions that may have locked a row of checkpoints although they hold no partition.
SELECT DISTINCT l.pid::integer AS pid, coalesce(a.usename::text, '')::text AS role, coalesce(a.application_name, '')::text AS application
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.relation = 'idem.checkpoints'::regclass AND l.granted AND l.mode <> 'AccessShareLock'
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND l.pid <> pg_catalog.pg_backend_pid()
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_locks h WHERE h.pid = l.pid AND h.locktype = 'advisory' AND h.granted);

-- name: CheckpointLock :many
-- The checkpoint once the transaction that changes it has ended. At most one row. (No time is read here and
-- below: as text it depends on the session's DateStyle.)
SELECT next_offset, owner_token FROM idem.checkpoints
WHERE consumer_id = @consumer_id AND topic = @topic AND partition = @partition AND lane = @lane
FOR UPDATE;

-- name: CheckpointRead :many
-- The checkpoint and those of its lanes, as they are committed.
SELECT lane, next_offset, owner_token FROM idem.checkpoints
WHERE consumer_id = @consumer_id AND topic = @topic AND partition = @partition;

-- name: CheckpointAcquire :one
-- Makes the caller the owner of a checkpoint that there is: transactions of the former owner find
-- another token from now on, and are refused. The row is locked. The time is that of the server, later than
-- the start of any transaction of the former owner, in microseconds since 1970.
UPDATE idem.checkpoints
SET owner_token = CAST(@owner_token::text AS uuid), epoch = epoch + 1, acquired_at = now(), owner = @owner, topic_id = coalesce(topic_id, sqlc.narg(topic_id))
WHERE consumer_id = @consumer_id AND topic = @topic AND partition = @partition AND lane = 0
RETURNING next_offset, topic_id, leader_epoch, epoch, reset_epoch, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS acquired_micros;

-- name: CheckpointEndLanes :exec
-- The former owner's lanes find another token from now on, and are refused.
UPDATE idem.checkpoints SET owner_token = NULL
WHERE consumer_id = @consumer_id AND topic = @topic AND partition = @partition AND lane > 0 AND owner_token IS NOT NULL;

-- name: CheckpointMakeLanes :execrows
-- Begins, or begins anew, with lanes at the checkpoint. No row if the caller is not the owner, or the database has lost
-- what it has committed: lanes would process what comes behind that first. The checkpoint is locked, so that
-- nobody acquires the partition, and ends its lanes, in between. The epoch of a lane is the number of its owner's try: one that comes
-- late changes nothing, because the lanes of a later one are at work.
INSERT INTO idem.checkpoints AS l (consumer_id, topic, partition, lane, next_offset, owner_token, epoch)
SELECT c.consumer_id, c.topic, c.partition, s.lane, @next_offset::bigint, c.owner_token, @try::bigint
FROM idem.checkpoints c, (SELECT pg_catalog.generate_series(1, @lanes::integer) AS lane) s
WHERE c.consumer_id = @consumer_id AND c.topic = @topic AND c.partition = @partition AND c.lane = 0
  AND c.owner_token = CAST(@owner_token::text AS uuid) AND c.next_offset >= @next_offset::bigint
FOR UPDATE OF c
ON CONFLICT (consumer_id, topic, partition, lane) DO UPDATE SET next_offset = excluded.next_offset, owner_token = excluded.owner_token, epoch = excluded.epoch
WHERE NOT coalesce(l.owner_token = excluded.owner_token AND l.epoch >= excluded.epoch, false);

-- name: CheckpointInsert :many
-- Begins a partition. No row if somebody else did. The time is as in CheckpointAcquire.
INSERT INTO idem.checkpoints (consumer_id, topic, partition, topic_id, next_offset, owner, owner_token, acquired_at)
VALUES (@consumer_id, @topic, @partition, sqlc.narg(topic_id), @next_offset, @owner, CAST(@owner_token::text AS uuid), now())
ON CONFLICT DO NOTHING
RETURNING epoch, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS acquired_micros;

-- name: CheckpointInsertStarts :execrows
-- Notes where the partitions of topics begin, before anybody owns them, if none of the topics is known.
INSERT INTO idem.checkpoints (consumer_id, topic, partition, topic_id, next_offset, epoch, acquired_at)
SELECT @consumer_id::bigint, s.topic, s.partition, nullif(s.topic_id, '')::uuid, s.next_offset, 0, now()
FROM (SELECT pg_catalog.unnest(@topics::text[]) AS topic, pg_catalog.unnest(@topic_ids::text[]) AS topic_id,
             pg_catalog.unnest(@partitions::integer[]) AS partition, pg_catalog.unnest(@next_offsets::bigint[]) AS next_offset) s
WHERE NOT EXISTS (SELECT FROM idem.checkpoints c WHERE c.consumer_id = @consumer_id::bigint AND c.topic = ANY (@topics::text[]))
ON CONFLICT DO NOTHING;

-- name: CheckpointStarts :one
-- Whether any partition of some topics has a checkpoint, whether one has only the note of its start that nobody has begun from,
-- and the note of one partition, unless it is of another topic of that name; -1: it has none.
SELECT count(*) > 0 AS known, coalesce(bool_or(epoch = 0), false)::boolean AS noted,
       coalesce(max(next_offset) FILTER (WHERE epoch = 0 AND topic = @topic AND partition = @partition AND coalesce(topic_id = sqlc.narg(topic_id), true)), -1)::bigint AS next_offset
FROM idem.checkpoints
WHERE consumer_id = @consumer_id AND topic = ANY (@topics::text[]) AND lane = 0;

-- name: CheckpointClaim :many
-- Claims records by their places and their event ids in one statement. The checkpoint is advanced
-- only by its owner, only from where the owner last saw it and only over what is not processed; unless that happens nothing is
-- claimed. Keys are as in EventClaim; without any, the checkpoint alone decides. One row, always.
WITH mark AS (
    UPDATE idem.checkpoints SET next_offset = @next_offset, leader_epoch = coalesce(sqlc.narg(leader_epoch), leader_epoch)
    WHERE consumer_id = @consumer_id::bigint AND topic = @topic AND partition = @partition AND lane = @lane
      AND owner_token = CAST(@owner_token::text AS uuid) AND next_offset = @seen_offset AND next_offset <= @first_offset
    RETURNING next_offset
), claim AS (
    INSERT INTO idem.processed_events (consumer_id, key, claim_id, event_id, metadata, fingerprint)
    SELECT @consumer_id::bigint, c.key::uuid, CAST(@claim_id::text AS uuid), nullif(c.event_id, ''), nullif(c.metadata, '')::jsonb, nullif(c.fingerprint, 0)
    FROM (
        SELECT pg_catalog.unnest(@keys::text[]) AS key, pg_catalog.unnest(@event_ids::text[]) AS event_id, pg_catalog.unnest(@metadata::text[]) AS metadata, pg_catalog.unnest(@fingerprints::bigint[]) AS fingerprint
    ) c
    WHERE EXISTS (SELECT FROM mark)
    ORDER BY c.key::uuid
    ON CONFLICT DO NOTHING
    RETURNING key
)
SELECT EXISTS (SELECT FROM mark) AS advanced, count(*) AS claimed,
       CASE WHEN count(*) < pg_catalog.cardinality(@keys::text[]) THEN coalesce(pg_catalog.array_agg(key::text), '{}') ELSE '{}' END::text[] AS part
FROM claim;

-- name: CheckpointAdvance :execrows
-- For records that need no transaction of their own, such as duplicates, and for those that lanes have
-- processed: only if no lane is behind where the owner has seen it.
WITH lanes AS (
    SELECT count(*) AS ahead
    FROM (SELECT pg_catalog.unnest(@lanes::integer[]) AS number, pg_catalog.unnest(@lane_offsets::bigint[]) AS seen) s
    JOIN idem.checkpoints l ON l.consumer_id = @consumer_id::bigint AND l.topic = @topic::text AND l.partition = @partition::integer
     AND l.lane = s.number AND l.owner_token = CAST(@owner_token::text AS uuid) AND l.next_offset >= s.seen
)
UPDATE idem.checkpoints p SET next_offset = @next_offset, leader_epoch = coalesce(sqlc.narg(leader_epoch), p.leader_epoch)
FROM lanes
WHERE p.consumer_id = @consumer_id::bigint AND p.topic = @topic::text AND p.partition = @partition::integer AND p.lane = 0
  AND p.owner_token = CAST(@owner_token::text AS uuid) AND p.next_offset = @seen_offset
  AND lanes.ahead = pg_catalog.cardinality(@lanes::integer[]);

-- name: CheckpointReset :many
-- Sets the checkpoint anywhere, also back, for a log that has become another one or for the place that
-- an operator chose. Its lanes end: they would take what comes again for processed. If it is set back, what they have done ahead counts no more. The owner goes on with another token, so
-- that it knows when the database has lost this. No row if the caller is not the owner, or the database has lost what it has
-- committed: by that the place was chosen. If an earlier try took effect this one changes nothing, and one that comes later
-- than the answer of the next neither: the owner has gone on.
WITH lanes AS (
    UPDATE idem.checkpoints l SET owner_token = NULL, next_offset = CASE WHEN f.next_offset > @next_offset::bigint THEN 0 ELSE l.next_offset END
    FROM idem.checkpoints f
    WHERE l.consumer_id = @consumer_id::bigint AND l.topic = @topic::text AND l.partition = @partition::integer AND l.lane > 0
      AND coalesce(l.owner_token = CAST(@owner_token::text AS uuid), true)
      AND f.consumer_id = l.consumer_id AND f.topic = l.topic AND f.partition = l.partition AND f.lane = 0
), reset AS (
    UPDATE idem.checkpoints p
    SET next_offset = @next_offset::bigint, epoch = p.epoch + 1, reset_epoch = p.epoch + 1, owner_token = CAST(@next_token::text AS uuid), topic_id = sqlc.narg(topic_id), leader_epoch = sqlc.narg(leader_epoch),
        started_offset = NULL, started_by = NULL, starts = 0
    WHERE p.consumer_id = @consumer_id::bigint AND p.topic = @topic::text AND p.partition = @partition::integer AND p.lane = 0
      AND p.owner_token = CAST(@owner_token::text AS uuid) AND p.next_offset >= @seen_offset
    RETURNING p.epoch
)
SELECT epoch FROM reset
UNION ALL
SELECT c.epoch FROM idem.checkpoints c
WHERE c.consumer_id = @consumer_id::bigint AND c.topic = @topic::text AND c.partition = @partition::integer AND c.lane = 0
  AND c.owner_token = CAST(@next_token::text AS uuid);

-- name: CheckpointStart :many
-- Counts the owners that have begun with a record, each once, however often it says so, and notes
-- whether one of them has come to process it. Those before it do not disturb the count: an owner
-- that finds only duplicates there begins with one after the other. No row if the caller is not the
-- owner.
UPDATE idem.checkpoints
SET starts = CASE WHEN started_offset > @started_offset THEN starts
                  WHEN started_offset = @started_offset AND started_by = owner_token THEN starts
                  WHEN started_offset = @started_offset THEN starts + 1
                  ELSE 1 END,
    started_by = CASE WHEN started_offset > @started_offset THEN started_by ELSE owner_token END,
    started_decoded = CASE WHEN started_offset > @started_offset THEN started_decoded
                           WHEN started_offset = @started_offset THEN started_decoded OR @decoded::boolean
                           ELSE @decoded::boolean END,
    started_offset = greatest(started_offset, @started_offset)
WHERE consumer_id = @consumer_id AND topic = @topic AND partition = @partition AND lane = 0 AND owner_token = CAST(@owner_token::text AS uuid)
RETURNING CASE WHEN started_offset = @started_offset THEN starts ELSE 1 END::integer AS starts, 
          CASE WHEN started_offset = @started_offset THEN started_decoded ELSE false END::boolean AS decoded;

-- name: CheckpointTakeBackStart :exec
-- Takes CheckpointStart back, for an owner that ended in order; once, however often it says so.
UPDATE idem.checkpoints SET starts = starts - 1, started_by = NULL
WHERE consumer_id = @consumer_id AND topic = @topic AND partition = @partition AND lane = 0 AND owner_token = CAST(@owner_token::text AS uuid)
  AND started_offset = @started_offset AND started_by = owner_token;

-- name: CheckpointNext :many
-- How far a partition is processed. At most one row.
SELECT next_offset FROM idem.checkpoints WHERE consumer_id = @consumer_id AND topic = @topic AND partition = @partition AND lane = 0;

-- name: CheckpointList :many
-- All checkpoints: there are as many as partitions. The time is as in ConsumerByName.
SELECT c.name AS consumer, p.topic, p.partition, p.next_offset, p.epoch, p.owner, p.topic_id,
       (extract(epoch FROM greatest(least(p.acquired_at, timestamptz '9999-12-31 23:59:59+00'), timestamptz '0001-01-01 00:00:00+00 BC')) * 1000000)::bigint AS acquired_micros
FROM idem.checkpoints p JOIN idem.consumers c ON c.id = p.consumer_id
WHERE p.lane = 0
ORDER BY c.name, p.topic, p.partition;

-- name: CheckpointSet :many
-- For an operator: sets the checkpoints of a topic, or of one partition of it, from outside; only those that
-- stand at an offset, if one is given. Without a
-- token the partition belongs to nobody until the next owner acquires it, so that no transaction
-- that began before can move it again. Owners know by reset_epoch that it was moved on purpose.
-- What was known of the log, and of records that kill processes, is for the next owner to find out.
WITH former AS (
    SELECT partition, next_offset, epoch FROM idem.checkpoints
    WHERE consumer_id = @consumer_id AND topic = @topic AND lane = 0
      AND (sqlc.narg(partition)::integer IS NULL OR partition = sqlc.narg(partition)::integer)
      AND (sqlc.narg(standing)::bigint IS NULL OR next_offset = sqlc.narg(standing)::bigint)
    ORDER BY partition
    FOR UPDATE
), lanes AS (
    UPDATE idem.checkpoints l SET owner_token = NULL, next_offset = CASE WHEN f.next_offset > @next_offset::bigint THEN 0 ELSE l.next_offset END
    FROM former f
    WHERE l.consumer_id = @consumer_id AND l.topic = @topic AND l.partition = f.partition AND l.lane > 0
)
UPDATE idem.checkpoints p
SET next_offset = @next_offset::bigint, epoch = p.epoch + 1, reset_epoch = p.epoch + 1, owner_token = NULL, topic_id = NULL, leader_epoch = NULL,
    started_offset = NULL, started_by = NULL, starts = 0
FROM former f
WHERE p.consumer_id = @consumer_id AND p.topic = @topic AND p.partition = f.partition AND p.lane = 0
RETURNING p.partition, f.next_offset AS former_next_offset, p.next_offset, f.epoch AS former_epoch, p.epoch;

-- name: CheckpointReadOwned :many
-- The checkpoints and lanes of many owners, as they are committed.
SELECT topic, partition, lane, next_offset FROM idem.checkpoints
WHERE consumer_id = @consumer_id AND owner_token = ANY(CAST(@owner_tokens::text[] AS uuid[]));
