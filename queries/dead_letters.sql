-- name: DeadLetterInsert :exec
-- Runs in the transaction that marks the event: both are stored or neither. A record that has an
-- unresolved dead letter already, whose mark was forgotten meanwhile, keeps it.
INSERT INTO idem.dead_letters (
    consumer_id, id, state, topic, record_partition, record_offset, record_time, event_id, key, claim_id, topic_id, attempts, copied,
    error, key_hash, record_key, record_value, header_keys, header_values
) VALUES (
    @consumer_id, @id, @state, @topic, @record_partition, @record_offset, @record_time, @event_id, @key, @claim_id, @topic_id, @attempts, @copied,
    @error, @key_hash, @record_key, @record_value, @header_keys, @header_values
)
ON CONFLICT (consumer_id, topic, record_partition, topic_id, record_offset, key) WHERE state IN ('open', 'parked', 'replay')
DO UPDATE SET claim_id = excluded.claim_id;

-- name: DeadLetterAt :many
-- The unresolved dead letters of a place in a log.
SELECT id FROM idem.dead_letters
WHERE consumer_id = @consumer_id AND topic = @topic AND record_partition = @record_partition AND record_offset = @record_offset
  AND state IN ('open', 'parked', 'replay');

-- name: DeadLetterRequest :execrows
-- Stands for a record that the owner of the partition is to read from Kafka again and to process whoever
-- has claimed its event. It is no part of any order: nothing waits for it. No row if that is asked for already.
-- What it is about, in case another record stands in the place by then: the event, if one was named, and the topic
-- that the checkpoint is of, if that is known.
INSERT INTO idem.dead_letters (consumer_id, id, state, topic, record_partition, record_offset, event_id, key, topic_id, attempts, error)
VALUES (
    @consumer_id, @id, 'replay', @topic, @record_partition, @record_offset, sqlc.narg(event_id), @key,
    coalesce((SELECT c.topic_id FROM idem.checkpoints c WHERE c.consumer_id = @consumer_id AND c.topic = @topic AND c.partition = @record_partition AND c.lane = 0),
             '00000000-0000-0000-0000-000000000000'::uuid),
    0, 'processing again was requested'
)
ON CONFLICT DO NOTHING;

-- name: DeadLetterSkip :exec
-- Stands for a record that an operator has passed over. Its contents are in Kafka alone.
INSERT INTO idem.dead_letters (consumer_id, id, state, resolved_at, topic, record_partition, record_offset, key, topic_id, attempts, error)
VALUES (@consumer_id, @id, 'discarded', now(), @topic, @record_partition, @record_offset, @key, @topic_id, 0, @error);

-- name: DeadLetterFill :exec
-- The record that was asked for.
UPDATE idem.dead_letters
SET record_time = @record_time, record_key = @record_key, record_value = @record_value, header_keys = @header_keys, header_values = @header_values
WHERE consumer_id = @consumer_id AND id = @id AND state = 'replay';

-- name: DeadLetterExpire :exec
-- The record that was asked for is not in the log.
UPDATE idem.dead_letters SET state = 'expired', error = @error, resolved_at = now()
WHERE consumer_id = @consumer_id AND id = @id AND state = 'replay' AND header_keys IS NULL;

-- name: DeadLetterParkBehind :execrows
-- Holds the first unresolved dead letter of a record key that stands before an offset, for a
-- transaction that parks a record behind it: whoever resolves it comes later and sees the record.
-- No row: there is nothing to wait for. It is written, not only locked, so that a transaction with an
-- older snapshot (REPEATABLE READ) fails and is repeated.
UPDATE idem.dead_letters h SET state = h.state
WHERE h.consumer_id = @consumer_id AND h.id = (
    SELECT d.id FROM idem.dead_letters d
    WHERE d.consumer_id = @consumer_id AND d.topic = @topic AND d.record_partition = @record_partition AND d.topic_id = @topic_id
      AND d.key_hash = @key_hash AND d.record_offset < @record_offset AND d.state IN ('open', 'parked', 'replay')
    ORDER BY d.record_offset, d.id
    LIMIT 1
    FOR UPDATE);

-- name: DeadLetterNext :many
-- The first dead letter of a partition that is to be processed now. It counts that this begins, so
-- that one which kills processes is found. What is parked is not looked at: it is handed on by
-- DeadLetterRelease. So this costs the same however many there are. The record's time is a number
-- (microseconds, the least one for none), whatever the session's DateStyle makes of it as text.
UPDATE idem.dead_letters n SET starts = n.starts + 1
WHERE n.consumer_id = @consumer_id AND n.state = 'replay' AND n.id = (
    SELECT d.id FROM idem.dead_letters d
    WHERE d.consumer_id = @consumer_id AND d.topic = @topic AND d.record_partition = @record_partition AND d.state = 'replay'
    ORDER BY d.record_offset, d.id
    LIMIT 1)
RETURNING n.id, n.state, n.topic, n.record_partition, n.record_offset, n.event_id, n.key, n.claim_id, n.topic_id, n.attempts, n.starts, n.copied, n.error,
    n.record_key, n.record_value, n.header_keys, n.header_values,
    coalesce(CASE WHEN isfinite(n.record_time) THEN (extract(epoch FROM n.record_time) * 1000000)::bigint END, -9223372036854775808)::bigint AS record_micros;

-- name: DeadLetterPutBack :exec
-- Takes back the start of a replay that ended in order.
UPDATE idem.dead_letters SET starts = starts - 1
WHERE consumer_id = @consumer_id AND id = @id AND state = 'replay' AND starts > 0;

-- name: DeadLetterParkedKeys :many
-- The hashes of the record keys whose further records must be parked.
SELECT key_hash, max(record_offset)::bigint AS last_offset FROM idem.dead_letters
WHERE consumer_id = @consumer_id AND topic = @topic AND record_partition = @record_partition AND topic_id = @topic_id
  AND state IN ('open', 'parked', 'replay') AND key_hash IS NOT NULL
GROUP BY key_hash;

-- name: DeadLetterLockKeys :exec
-- The first of three statements that resolve dead letters, in one transaction: it holds the first
-- unresolved one of each of their record keys, so that of two transactions which resolve some of one
-- key the second sees what the first has done. READ COMMITTED lets the next statements see that; the
-- other isolation levels fail, and the transaction is repeated.
SELECT f.id
FROM (
    SELECT DISTINCT d.topic, d.record_partition, d.topic_id, d.key_hash FROM idem.dead_letters d
    WHERE d.consumer_id = @consumer_id AND d.id = ANY (CAST(@ids::text[] AS uuid[])) AND d.key_hash IS NOT NULL
    ORDER BY d.topic, d.record_partition, d.topic_id, d.key_hash
) k
CROSS JOIN LATERAL (
    SELECT d.id FROM idem.dead_letters d
    WHERE d.consumer_id = @consumer_id AND d.topic = k.topic AND d.record_partition = k.record_partition AND d.topic_id = k.topic_id
      AND d.key_hash = k.key_hash AND d.state IN ('open', 'parked', 'replay')
    ORDER BY d.record_offset, d.id
    LIMIT 1
    FOR UPDATE
) f;

-- name: DeadLetterResolve :execrows
-- The second of them, in the transaction that processes the dead letter: of two that want to, the later
-- one finds it resolved.
UPDATE idem.dead_letters
SET state = @state, resolved_at = now(), event_id = coalesce(sqlc.narg(event_id), event_id), claim_id = coalesce(sqlc.narg(claim_id), claim_id)
WHERE consumer_id = @consumer_id AND id = @id AND state = 'replay';

-- name: DeadLetterRelease :execrows
-- The third: where the first unresolved dead letter of a record key is a parked one now, it is to be
-- processed.
WITH first AS (
    SELECT f.id
    FROM (
        SELECT DISTINCT d.topic, d.record_partition, d.topic_id, d.key_hash FROM idem.dead_letters d
        WHERE d.consumer_id = @consumer_id AND d.id = ANY (CAST(@ids::text[] AS uuid[])) AND d.key_hash IS NOT NULL
        ORDER BY d.topic, d.record_partition, d.topic_id, d.key_hash
    ) k
    CROSS JOIN LATERAL (
        SELECT d.id, d.state FROM idem.dead_letters d
        WHERE d.consumer_id = @consumer_id AND d.topic = k.topic AND d.record_partition = k.record_partition AND d.topic_id = k.topic_id
          AND d.key_hash = k.key_hash AND d.state IN ('open', 'parked', 'replay')
        ORDER BY d.record_offset, d.id
        LIMIT 1
        FOR UPDATE
    ) f
    WHERE f.state = 'parked'
)
UPDATE idem.dead_letters n SET state = 'replay'
WHERE n.consumer_id = @consumer_id AND n.id IN (SELECT first.id FROM first);

-- name: DeadLetterFail :execrows
-- The replay failed: the dead letter is open again.
UPDATE idem.dead_letters
SET state = 'open', attempts = attempts + @attempts::integer, starts = 0, copied = copied OR @copied::boolean, error = @error, failed_at = now()
WHERE consumer_id = @consumer_id AND id = @id AND state = 'replay';

-- name: DeadLetterList :many
-- The dead letters that pass all filters, a null filter being none, without the records themselves.
-- Ages count by this server's clock. Times are microseconds, the least number for none or for one that JSON
-- cannot hold. The order is that of the ids, which is the one in which they were
-- stored, as far as the clocks of those who did agree. The shape of an error is its first line with # for numbers
-- and UUIDs.
SELECT d.consumer_id, d.id, c.name AS consumer, d.topic, d.record_partition, d.record_offset, d.state, d.attempts, d.event_id, d.error,
       coalesce(CASE WHEN d.record_time >= timestamptz '0001-01-01 00:00:00+00' AND d.record_time < timestamptz '10000-01-01 00:00:00+00'
       THEN (extract(epoch FROM d.record_time) * 1000000)::bigint END, -9223372036854775808)::bigint AS record_micros,
       coalesce(CASE WHEN d.failed_at >= timestamptz '0001-01-01 00:00:00+00' AND d.failed_at < timestamptz '10000-01-01 00:00:00+00'
       THEN (extract(epoch FROM d.failed_at) * 1000000)::bigint END, -9223372036854775808)::bigint AS failed_micros,
       coalesce(CASE WHEN d.resolved_at >= timestamptz '0001-01-01 00:00:00+00' AND d.resolved_at < timestamptz '10000-01-01 00:00:00+00'
       THEN (extract(epoch FROM d.resolved_at) * 1000000)::bigint END, -9223372036854775808)::bigint AS resolved_micros
FROM idem.dead_letters d JOIN idem.consumers c ON c.id = d.consumer_id
WHERE d.state = ANY (@states::text[])
  AND (sqlc.narg(ids)::text[] IS NULL OR d.id = ANY (CAST(sqlc.narg(ids)::text[] AS uuid[])))
  AND (sqlc.narg(consumer_id)::bigint IS NULL OR d.consumer_id = sqlc.narg(consumer_id)::bigint)
  AND (sqlc.narg(topic)::text IS NULL OR d.topic = sqlc.narg(topic)::text)
  AND (sqlc.narg(event_id)::text IS NULL OR d.event_id = sqlc.narg(event_id)::text)
  AND (sqlc.narg(error_part)::text IS NULL OR strpos(d.error, sqlc.narg(error_part)::text) > 0)
  AND (sqlc.narg(error_shape)::text IS NULL OR regexp_replace(left(split_part(d.error, chr(10), 1), 300), '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]+', '#', 'g') = sqlc.narg(error_shape)::text)
  AND (sqlc.narg(since)::timestamptz IS NULL OR d.failed_at >= sqlc.narg(since)::timestamptz)
  AND (sqlc.narg(until)::timestamptz IS NULL OR d.failed_at < sqlc.narg(until)::timestamptz)
  AND (sqlc.narg(max_age_seconds)::float8 IS NULL
       OR d.failed_at >= now() - make_interval(secs => sqlc.narg(max_age_seconds)::float8))
ORDER BY CASE WHEN @oldest_first::boolean THEN d.id END, d.id DESC
LIMIT sqlc.narg(max_rows);

-- name: DeadLettersOfEvent :many
-- The dead letters of an event: those that have its id or are marked under its key, those of a place in a
-- log, and those that failed with an error that begins so. The key of those that stand for a request is zero.
SELECT d.id, d.key, d.claim_id
FROM idem.dead_letters d
WHERE d.consumer_id = @consumer_id
  AND (d.event_id = @event_id::text OR d.key = @key
       OR d.topic = @topic::text AND d.record_partition = @record_partition::integer AND d.record_offset = @record_offset::bigint
       OR starts_with(d.error, @error_start::text))
ORDER BY d.id
LIMIT @max_rows;

-- name: DeadLetterAwaited :many
-- What those of some dead letters that are parked wait for: the first unresolved one of their record key.
SELECT d.id, h.id AS awaited, h.state
FROM idem.consumers c JOIN idem.dead_letters d ON d.consumer_id = c.id
CROSS JOIN LATERAL (
    SELECT u.id, u.state FROM idem.dead_letters u
    WHERE u.consumer_id = d.consumer_id AND u.topic = d.topic AND u.record_partition = d.record_partition AND u.topic_id = d.topic_id
      AND u.key_hash = d.key_hash AND u.record_offset < d.record_offset AND u.state IN ('open', 'parked', 'replay')
    ORDER BY u.record_offset, u.id
    LIMIT 1) h
WHERE d.id = ANY (CAST(@ids::text[] AS uuid[])) AND d.state = 'parked';

-- name: DeadLetterBetween :many
-- The dead letters whose ids lie between two, which may be those of a prefix. More than one tells that
-- the prefix says too little.
SELECT d.consumer_id, d.id
FROM idem.consumers c JOIN idem.dead_letters d ON d.consumer_id = c.id
WHERE d.id >= CAST(@least::text AS uuid) AND d.id <= CAST(@greatest::text AS uuid)
ORDER BY d.id
LIMIT 2;

-- name: DeadLetterNeighbours :many
-- The ids directly before and after each of some ids, among those of all consumers: a prefix that
-- tells an id from both tells it from all. Where there is none it is the id itself.
SELECT i.id::uuid AS id, coalesce(b.id, i.id)::uuid AS before, coalesce(a.id, i.id)::uuid AS after
FROM (SELECT DISTINCT CAST(unnest(@ids::text[]) AS uuid) AS id) i
LEFT JOIN LATERAL (
    SELECT n.id FROM idem.consumers c CROSS JOIN LATERAL (
        SELECT d.id FROM idem.dead_letters d WHERE d.consumer_id = c.id AND d.id < i.id ORDER BY d.id DESC LIMIT 1) n
    ORDER BY n.id DESC LIMIT 1) b ON true
LEFT JOIN LATERAL (
    SELECT n.id FROM idem.consumers c CROSS JOIN LATERAL (
        SELECT d.id FROM idem.dead_letters d WHERE d.consumer_id = c.id AND d.id > i.id ORDER BY d.id LIMIT 1) n
    ORDER BY n.id LIMIT 1) a ON true;

-- name: DeadLetterGet :one
-- A dead letter whole, with the name of its consumer. Times are as in DeadLetterList.
SELECT d.consumer_id, d.id, c.name AS consumer, d.topic, d.record_partition, d.record_offset, d.state, d.attempts, d.event_id, d.error,
       coalesce(CASE WHEN d.record_time >= timestamptz '0001-01-01 00:00:00+00' AND d.record_time < timestamptz '10000-01-01 00:00:00+00'
       THEN (extract(epoch FROM d.record_time) * 1000000)::bigint END, -9223372036854775808)::bigint AS record_micros,
       coalesce(CASE WHEN d.failed_at >= timestamptz '0001-01-01 00:00:00+00' AND d.failed_at < timestamptz '10000-01-01 00:00:00+00'
       THEN (extract(epoch FROM d.failed_at) * 1000000)::bigint END, -9223372036854775808)::bigint AS failed_micros,
       coalesce(CASE WHEN d.resolved_at >= timestamptz '0001-01-01 00:00:00+00' AND d.resolved_at < timestamptz '10000-01-01 00:00:00+00'
       THEN (extract(epoch FROM d.resolved_at) * 1000000)::bigint END, -9223372036854775808)::bigint AS resolved_micros,
       d.claim_id, d.record_key, d.record_value, d.header_keys, d.header_values
FROM idem.dead_letters d JOIN idem.consumers c ON c.id = d.consumer_id
WHERE d.consumer_id = @consumer_id AND d.id = @id;

-- name: DeadLetterReplay :many
-- Hands open dead letters to the owners of their partitions. Returns those that were open, and have not failed
-- anew since somebody has looked at them (as DeadLetterList tells the time); one
-- that a transaction is resolving is waited for and then left alone.
UPDATE idem.dead_letters d SET state = 'replay'
FROM (SELECT unnest(@ids::text[]) AS id, unnest(@failed_micros::bigint[]) AS failed_micros) s
WHERE d.consumer_id = @consumer_id AND d.id = CAST(s.id AS uuid) AND d.state = 'open'
  AND coalesce(CASE WHEN d.failed_at >= timestamptz '0001-01-01 00:00:00+00' AND d.failed_at < timestamptz '10000-01-01 00:00:00+00'
       THEN (extract(epoch FROM d.failed_at) * 1000000)::bigint END, -9223372036854775808)::bigint = s.failed_micros
RETURNING d.id;

-- name: DeadLetterDiscard :many
-- Gives unresolved dead letters up for ever; their events stay marked. Returns those that are in the states in which
-- somebody has looked at them, and have not failed anew since, as in DeadLetterReplay; one that a transaction is processing
-- is waited for and discarded only if that fails.
-- It stands between DeadLetterLockKeys and DeadLetterRelease.
UPDATE idem.dead_letters d SET state = 'discarded', resolved_at = now()
FROM (SELECT unnest(@ids::text[]) AS id, unnest(@states::text[]) AS state, unnest(@failed_micros::bigint[]) AS failed_micros) s
WHERE d.consumer_id = @consumer_id AND d.id = CAST(s.id AS uuid) AND d.state = s.state AND d.state IN ('open', 'parked', 'replay')
  AND coalesce(CASE WHEN d.failed_at >= timestamptz '0001-01-01 00:00:00+00' AND d.failed_at < timestamptz '10000-01-01 00:00:00+00'
       THEN (extract(epoch FROM d.failed_at) * 1000000)::bigint END, -9223372036854775808)::bigint = s.failed_micros
RETURNING d.id;

-- name: DeadLetterCountReleased :one
-- How many parked dead letters follow when these are resolved: those behind one of them of the
-- same key, and behind none that somebody else has to decide about. Parked ones between do not
-- count, for they follow too.
WITH chosen AS (
    SELECT CAST(unnest(@ids::text[]) AS uuid) AS id
)
SELECT count(*)
FROM idem.dead_letters d
WHERE d.consumer_id = @consumer_id AND d.state = 'parked'
  AND NOT EXISTS (SELECT FROM chosen WHERE chosen.id = d.id)
  AND EXISTS (
      SELECT FROM idem.dead_letters h JOIN chosen ON chosen.id = h.id
      WHERE h.consumer_id = d.consumer_id AND h.topic = d.topic AND h.record_partition = d.record_partition AND h.topic_id = d.topic_id
        AND h.key_hash = d.key_hash AND h.record_offset < d.record_offset AND h.state IN ('open', 'parked', 'replay'))
  AND NOT EXISTS (
      SELECT FROM idem.dead_letters h
      WHERE h.consumer_id = d.consumer_id AND h.topic = d.topic AND h.record_partition = d.record_partition AND h.topic_id = d.topic_id
        AND h.key_hash = d.key_hash AND h.record_offset < d.record_offset AND h.state IN ('open', 'replay')
        AND NOT EXISTS (SELECT FROM chosen WHERE chosen.id = h.id));

-- name: DeadLetterCounts :many
-- The unresolved dead letters of each consumer that has any.
SELECT c.name AS consumer, count(*) AS unresolved, count(*) FILTER (WHERE d.state = 'open') AS open
FROM idem.dead_letters d JOIN idem.consumers c ON c.id = d.consumer_id
WHERE d.state IN ('open', 'parked', 'replay')
GROUP BY c.name
ORDER BY c.name;

-- name: DeadLetterCountUnresolved :one
-- How many unresolved dead letters a consumer has, to a limit, so that asking often costs little.
SELECT count(*) FROM (
    SELECT FROM idem.dead_letters d WHERE d.consumer_id = @consumer_id AND d.state IN ('open', 'parked', 'replay')
    LIMIT @most::integer) u;

-- name: DeadLetterGroups :many
-- How many dead letters pass the filters of DeadLetterList, for each shape of their errors, and in all. Times as
-- there.
SELECT l.shape::text AS error_shape, count(*) AS dead_letters, count(*) FILTER (WHERE l.state = 'open') AS open, (sum(count(*)) OVER ())::bigint AS total,
       coalesce(CASE WHEN min(l.failed_at) >= timestamptz '0001-01-01 00:00:00+00' AND min(l.failed_at) < timestamptz '10000-01-01 00:00:00+00'
       THEN (extract(epoch FROM min(l.failed_at)) * 1000000)::bigint END, -9223372036854775808)::bigint AS first_micros,
       coalesce(CASE WHEN max(l.failed_at) >= timestamptz '0001-01-01 00:00:00+00' AND max(l.failed_at) < timestamptz '10000-01-01 00:00:00+00'
       THEN (extract(epoch FROM max(l.failed_at)) * 1000000)::bigint END, -9223372036854775808)::bigint AS last_micros
FROM (
    SELECT d.state, d.failed_at, regexp_replace(left(split_part(d.error, chr(10), 1), 300), '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]+', '#', 'g') AS shape
    FROM idem.dead_letters d
    WHERE d.state = ANY (@states::text[])
      AND (sqlc.narg(consumer_id)::bigint IS NULL OR d.consumer_id = sqlc.narg(consumer_id)::bigint)
      AND (sqlc.narg(topic)::text IS NULL OR d.topic = sqlc.narg(topic)::text)
      AND (sqlc.narg(event_id)::text IS NULL OR d.event_id = sqlc.narg(event_id)::text)
      AND (sqlc.narg(error_part)::text IS NULL OR strpos(d.error, sqlc.narg(error_part)::text) > 0)
      AND (sqlc.narg(since)::timestamptz IS NULL OR d.failed_at >= sqlc.narg(since)::timestamptz)
      AND (sqlc.narg(until)::timestamptz IS NULL OR d.failed_at < sqlc.narg(until)::timestamptz)
      AND (sqlc.narg(max_age_seconds)::float8 IS NULL
           OR d.failed_at >= now() - make_interval(secs => sqlc.narg(max_age_seconds)::float8))
) l
WHERE sqlc.narg(error_shape)::text IS NULL OR l.shape = sqlc.narg(error_shape)::text
GROUP BY l.shape
ORDER BY count(*) DESC, l.shape
LIMIT sqlc.narg(max_rows);

-- name: DeadLetterDeleteResolved :execrows
-- Deletes dead letters that were resolved longer ago than their consumer's retention, a limited number
-- of them. Those that wait for somebody stay.
DELETE FROM idem.dead_letters r WHERE (r.consumer_id, r.id) IN (
    SELECT l.consumer_id, l.id FROM idem.consumers c JOIN idem.dead_letters l ON l.consumer_id = c.id
    WHERE l.state IN ('replayed', 'discarded', 'superseded', 'expired') AND l.resolved_at < now() - c.retention
    LIMIT @most
    FOR UPDATE OF l SKIP LOCKED);

-- name: DeadLetterCountExpired :one
-- What DeadLetterDeleteResolved would delete.
SELECT count(*) FROM idem.consumers c JOIN idem.dead_letters l ON l.consumer_id = c.id
WHERE l.state IN ('replayed', 'discarded', 'superseded', 'expired') AND l.resolved_at < now() - c.retention;

-- name: DeadLetterDue :many
-- In which of the partitions DeadLetterNext finds one.
SELECT p.topic::text AS topic, p.partition::integer AS partition
FROM (SELECT pg_catalog.unnest(@topics::text[]) AS topic, pg_catalog.unnest(@partitions::integer[]) AS partition) p
WHERE EXISTS (
    SELECT FROM idem.dead_letters d
    WHERE d.consumer_id = @consumer_id AND d.topic = p.topic AND d.record_partition = p.partition AND d.state = 'replay');
