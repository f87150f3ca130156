-- name: DeadLetterInsert :one
-- Runs in the transaction that marks the event: both are stored or neither.
INSERT INTO idem.dead_letters (
    consumer_id, state, topic, record_partition, record_offset, record_time, event_id, claim_id, topic_id, attempts, error,
    record_key, record_value, header_keys, header_values
) VALUES (
    @consumer_id, @state, @topic, @record_partition, @record_offset, @record_time, @event_id, @claim_id, sqlc.narg(topic_id), @attempts, @error,
    @record_key, @record_value, @header_keys, @header_values
)
RETURNING id;

-- name: DeadLetterNext :many
-- The oldest letter of a partition that is to be processed now: one that somebody wants replayed,
-- or a parked one with nothing unresolved of the same record key before it. It counts that this
-- begins, so that a letter which kills processes is found.
UPDATE idem.dead_letters SET starts = starts + 1
WHERE id = (
    SELECT d.id FROM idem.dead_letters d
    WHERE d.consumer_id = @consumer_id AND d.topic = @topic AND d.record_partition = @record_partition
      AND d.state IN ('parked', 'replay')
      AND NOT (d.state = 'parked' AND EXISTS (
          SELECT FROM idem.dead_letters h
          WHERE h.consumer_id = d.consumer_id AND h.topic = d.topic AND h.record_partition = d.record_partition
            AND sha256(h.record_key) = sha256(d.record_key) AND h.id < d.id AND h.state IN ('open', 'parked', 'replay')))
    ORDER BY d.id
    LIMIT 1)
RETURNING *;

-- name: DeadLetterParkedKeys :many
-- The record keys whose further records must be parked.
SELECT DISTINCT record_key FROM idem.dead_letters
WHERE consumer_id = @consumer_id AND topic = @topic AND record_partition = @record_partition
  AND state IN ('open', 'parked', 'replay') AND record_key IS NOT NULL;

-- name: DeadLetterResolve :execrows
-- Runs in the transaction that processes the letter. Of two that want to, the second finds it
-- resolved.
UPDATE idem.dead_letters SET state = @state, resolved_at = now()
WHERE id = @id AND state IN ('parked', 'replay');

-- name: DeadLetterFail :execrows
-- The replay failed: the letter is open again.
UPDATE idem.dead_letters
SET state = 'open', attempts = attempts + @attempts::integer, starts = 0, error = @error, failed_at = now()
WHERE id = @id AND state IN ('parked', 'replay');

-- name: DeadLetterList :many
-- The letters that pass all filters, a null filter being none, without the records themselves.
-- Ages count by this server's clock. The order is that of the ids, in which letters were stored.
SELECT d.id, c.name AS consumer, d.topic, d.record_partition, d.record_offset, d.record_time, d.state, d.attempts,
       d.failed_at, d.resolved_at, d.event_id, d.error
FROM idem.dead_letters d JOIN idem.consumers c ON c.id = d.consumer_id
WHERE d.state = ANY (@states::text[])
  AND (sqlc.narg(ids)::bigint[] IS NULL OR d.id = ANY (sqlc.narg(ids)::bigint[]))
  AND (sqlc.narg(consumer_id)::bigint IS NULL OR d.consumer_id = sqlc.narg(consumer_id)::bigint)
  AND (sqlc.narg(topic)::text IS NULL OR d.topic = sqlc.narg(topic)::text)
  AND (sqlc.narg(event_id)::text IS NULL OR d.event_id = sqlc.narg(event_id)::text)
  AND (sqlc.narg(error_part)::text IS NULL OR strpos(d.error, sqlc.narg(error_part)::text) > 0)
  AND (sqlc.narg(since)::timestamptz IS NULL OR d.failed_at >= sqlc.narg(since)::timestamptz)
  AND (sqlc.narg(max_age_seconds)::float8 IS NULL
       OR d.failed_at >= now() - make_interval(secs => sqlc.narg(max_age_seconds)::float8))
ORDER BY CASE WHEN @oldest_first::boolean THEN d.id END, d.id DESC
LIMIT sqlc.narg(max_rows);

-- name: DeadLetterGet :one
-- A letter whole, with the name of its consumer.
SELECT c.name AS consumer, d.*
FROM idem.dead_letters d JOIN idem.consumers c ON c.id = d.consumer_id
WHERE d.id = @id;

-- name: DeadLetterReplay :many
-- Hands open letters to the owners of their partitions. Returns those that were open; a letter
-- that a transaction is resolving is waited for and then left alone.
UPDATE idem.dead_letters SET state = 'replay'
WHERE id = ANY (@ids::bigint[]) AND state = 'open'
RETURNING id;

-- name: DeadLetterDiscard :many
-- Gives unresolved letters up for ever; their events stay marked. Returns those that were
-- unresolved; one that a transaction is processing is waited for and discarded only if that fails.
UPDATE idem.dead_letters SET state = 'discarded', resolved_at = now()
WHERE id = ANY (@ids::bigint[]) AND state IN ('open', 'parked', 'replay')
RETURNING id;

-- name: DeadLetterCountReleased :one
-- How many parked letters follow when these letters are resolved: those behind one of them of the
-- same key, and behind none that somebody else has to decide about. Parked ones between do not
-- count, for they follow too.
WITH chosen AS (
    SELECT unnest(@ids::bigint[]) AS id
)
SELECT count(*)
FROM idem.dead_letters d
WHERE d.state = 'parked'
  AND NOT EXISTS (SELECT FROM chosen WHERE chosen.id = d.id)
  AND EXISTS (
      SELECT FROM idem.dead_letters h JOIN chosen ON chosen.id = h.id
      WHERE h.consumer_id = d.consumer_id AND h.topic = d.topic AND h.record_partition = d.record_partition
        AND h.record_key = d.record_key AND h.id < d.id AND h.state IN ('open', 'parked', 'replay'))
  AND NOT EXISTS (
      SELECT FROM idem.dead_letters h
      WHERE h.consumer_id = d.consumer_id AND h.topic = d.topic AND h.record_partition = d.record_partition
        AND h.record_key = d.record_key AND h.id < d.id AND h.state IN ('open', 'replay')
        AND NOT EXISTS (SELECT FROM chosen WHERE chosen.id = h.id));

-- name: DeadLetterCounts :many
-- The unresolved letters of each consumer that has any.
SELECT c.name AS consumer, count(*) AS unresolved, count(*) FILTER (WHERE d.state = 'open') AS open
FROM idem.dead_letters d JOIN idem.consumers c ON c.id = d.consumer_id
WHERE d.state IN ('open', 'parked', 'replay')
GROUP BY c.name
ORDER BY c.name;

-- name: DeadLetterDeleteResolved :execrows
-- Deletes letters that were resolved longer ago than their consumer's retention, a limited number
-- of them. Those that wait for somebody stay.
DELETE FROM idem.dead_letters WHERE id IN (
    SELECT l.id FROM idem.dead_letters l JOIN idem.consumers c ON c.id = l.consumer_id
    WHERE l.state IN ('replayed', 'discarded', 'superseded') AND l.resolved_at < now() - c.retention
    ORDER BY l.id
    LIMIT @most
    FOR UPDATE OF l SKIP LOCKED);
