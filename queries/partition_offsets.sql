-- name: OffsetLimitWait :exec
-- For OffsetTakeOver, in the same transaction.
SELECT set_config('lock_timeout', @milliseconds::text, true);

-- name: OffsetTakeOver :one
-- Makes the caller the owner. It waits for a transaction of the former owner that is about to
-- advance the watermark; every later one finds another epoch and is refused.
INSERT INTO idem.partition_offsets AS p (consumer_id, topic, partition, topic_id, owner)
VALUES (@consumer_id, @topic, @partition, sqlc.narg(topic_id), @owner)
ON CONFLICT (consumer_id, topic, partition) DO UPDATE
SET epoch = p.epoch + 1, taken_at = now(), owner = excluded.owner, topic_id = coalesce(p.topic_id, excluded.topic_id)
RETURNING p.epoch, p.next_offset, p.topic_id;

-- name: OffsetTerminateHolder :many
-- Ends the session whose transaction holds the watermark, if one does: that of a former owner
-- that is frozen, or whose host is gone without a word.
SELECT l.pid::integer AS pid, pg_terminate_backend(l.pid) AS terminated
FROM idem.partition_offsets p
JOIN pg_catalog.pg_locks l ON l.locktype = 'transactionid' AND l.granted AND l.transactionid = p.xmax
WHERE p.consumer_id = @consumer_id AND p.topic = @topic AND p.partition = @partition;

-- name: OffsetClaim :many
-- Claims records by their places and their event ids in one statement. The watermark is advanced only
-- by its owner and only over what is not processed; unless that happens nothing is claimed. Keys
-- are as in EventClaim; without any, the watermark alone decides. One row, always.
WITH mark AS (
    UPDATE idem.partition_offsets SET next_offset = @next_offset
    WHERE consumer_id = @consumer_id::integer AND topic = @topic AND partition = @partition
      AND epoch = @epoch AND next_offset <= @first_offset
    RETURNING next_offset
), claim AS (
    INSERT INTO idem.processed_events (consumer_id, key, claim_id, event_id, metadata)
    SELECT @consumer_id::integer, c.key::uuid, CAST(@claim_id::text AS uuid), nullif(c.event_id, ''), nullif(c.metadata, '')::jsonb
    FROM (
        SELECT unnest(@keys::text[]) AS key, unnest(@event_ids::text[]) AS event_id, unnest(@metadata::text[]) AS metadata
    ) c
    WHERE EXISTS (SELECT FROM mark)
    ORDER BY c.key::uuid
    ON CONFLICT DO NOTHING
    RETURNING key
)
SELECT EXISTS (SELECT FROM mark) AS advanced, count(*) AS claimed,
       CASE WHEN count(*) < cardinality(@keys::text[]) THEN coalesce(array_agg(key::text), '{}') ELSE '{}' END::text[] AS part
FROM claim;

-- name: OffsetAdvance :execrows
-- For records that need no transaction of their own, such as duplicates.
UPDATE idem.partition_offsets SET next_offset = greatest(next_offset, @next_offset)
WHERE consumer_id = @consumer_id AND topic = @topic AND partition = @partition AND epoch = @epoch;

-- name: OffsetReset :execrows
-- Sets the watermark anywhere, also back, for a log that has become another one.
UPDATE idem.partition_offsets
SET next_offset = @next_offset, topic_id = sqlc.narg(topic_id), started_offset = NULL, started_epoch = NULL, starts = 0
WHERE consumer_id = @consumer_id AND topic = @topic AND partition = @partition AND epoch = @epoch;

-- name: OffsetStart :many
-- Counts the owners that have begun with a record, each once, however often it says so. Those
-- before it do not disturb the count: an owner that finds only duplicates there begins with one
-- after the other. No row if the caller is not the owner.
UPDATE idem.partition_offsets
SET starts = CASE WHEN started_offset > @started_offset THEN starts
                  WHEN started_offset = @started_offset AND started_epoch = epoch THEN starts
                  WHEN started_offset = @started_offset THEN starts + 1
                  ELSE 1 END,
    started_epoch = CASE WHEN started_offset > @started_offset THEN started_epoch ELSE epoch END,
    started_offset = greatest(started_offset, @started_offset)
WHERE consumer_id = @consumer_id AND topic = @topic AND partition = @partition AND epoch = @epoch
RETURNING CASE WHEN started_offset = @started_offset THEN starts ELSE 1 END::integer AS starts;

-- name: OffsetTakeBackStart :exec
-- Takes OffsetStart back, for an owner that ended in order; once, however often it says so.
UPDATE idem.partition_offsets SET starts = starts - 1, started_epoch = NULL
WHERE consumer_id = @consumer_id AND topic = @topic AND partition = @partition AND epoch = @epoch
  AND started_offset = @started_offset AND started_epoch = epoch;

-- name: OffsetLock :one
-- The watermark once the transaction that advances it has ended.
SELECT epoch, next_offset FROM idem.partition_offsets
WHERE consumer_id = @consumer_id AND topic = @topic AND partition = @partition
FOR UPDATE;

-- name: OffsetList :many
-- All watermarks: there are as many as partitions.
SELECT c.name AS consumer, p.*
FROM idem.partition_offsets p JOIN idem.consumers c ON c.id = p.consumer_id
ORDER BY c.name, p.topic, p.partition;

-- name: OffsetSet :many
-- For an operator: sets the watermarks of a topic, or of one partition of it, from outside. The
-- greater epoch fences the owner, so that no transaction that began before can move them again.
-- What was known of the log, and of records that kill processes, is for the next owner to find out.
WITH former AS (
    SELECT partition, next_offset, epoch FROM idem.partition_offsets
    WHERE consumer_id = @consumer_id AND topic = @topic
      AND (sqlc.narg(partition)::integer IS NULL OR partition = sqlc.narg(partition)::integer)
    ORDER BY partition
    FOR UPDATE
)
UPDATE idem.partition_offsets p
SET next_offset = @next_offset, epoch = p.epoch + 1, topic_id = NULL, started_offset = NULL, started_epoch = NULL, starts = 0
FROM former f
WHERE p.consumer_id = @consumer_id AND p.topic = @topic AND p.partition = f.partition
RETURNING p.partition, f.next_offset AS former_next_offset, p.next_offset, f.epoch AS former_epoch, p.epoch;
