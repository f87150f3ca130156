-- name: EventClaim :many
-- Says how many of the keys are the caller's to process, and which, unless it is all of them. A key
-- that a transaction in progress holds is waited for; it is the caller's if that transaction rolls
-- back and not if it commits. The keys must be distinct. They are inserted in order, so that two
-- statements which claim the same keys wait for each other in one direction only. One row, always.
-- Event ids and metadata that are empty or missing at the end of their arrays are null. The keys
-- travel as text because pgx can encode an array of strings in every query execution mode, one of
-- UUIDs only in some.
WITH claim AS (
    INSERT INTO idem.processed_events (consumer_id, key, claim_id, event_id, metadata)
    SELECT @consumer_id::integer, c.key::uuid, @claim_id::uuid, nullif(c.event_id, ''), nullif(c.metadata, '')::jsonb
    FROM (
        SELECT unnest(@keys::text[]) AS key, unnest(@event_ids::text[]) AS event_id, unnest(@metadata::text[]) AS metadata
    ) c
    ORDER BY c.key::uuid
    ON CONFLICT DO NOTHING
    RETURNING key
)
SELECT count(*) AS claimed,
       CASE WHEN count(*) < cardinality(@keys::text[]) THEN coalesce(array_agg(key::text), '{}') ELSE '{}' END::text[] AS part
FROM claim;

-- name: EventSetHandlerDuration :exec
-- Runs in the claiming transaction, before its COMMIT: nobody else sees the row without it.
UPDATE idem.processed_events
SET metadata = coalesce(metadata, '{}') || jsonb_build_object('handler_ms', @handler_ms::float8)
WHERE consumer_id = @consumer_id AND key = @key;

-- name: EventGet :one
-- A committed claim, whole. None says nothing about transactions in progress, so it must never
-- decide whether to process an event.
SELECT * FROM idem.processed_events WHERE consumer_id = @consumer_id AND key = @key;

-- name: EventLock :one
-- The committed claim of an event, which nobody forgets while the transaction lasts.
SELECT claim_id FROM idem.processed_events WHERE consumer_id = @consumer_id AND key = @key FOR UPDATE;

-- name: EventForget :execrows
-- Makes the events claimable again.
DELETE FROM idem.processed_events WHERE consumer_id = @consumer_id AND key = ANY (CAST(@keys::text[] AS uuid[]));

-- name: EventHeapBlocks :one
-- The table's size in blocks. Rows that are inserted later can stand in blocks beyond it, but
-- such rows are not expired.
SELECT (pg_relation_size('idem.processed_events') / current_setting('block_size')::bigint)::bigint AS blocks;

-- name: CleanupTryLead :one
-- At most one transaction at a time holds the lead of a schema's cleanup; it is given back
-- when the transaction ends, so that it works through transaction pooling too.
SELECT pg_try_advisory_xact_lock('idem.processed_events'::regclass::oid::integer, @lock_class::integer) AS leading;

-- name: EventDeleteExpired :many
-- Deletes what is older than its own consumer's retention in the blocks [from_block, to_block)
-- of the heap and counts it for each consumer.
WITH expired AS (
    DELETE FROM idem.processed_events e
    USING idem.consumers c
    WHERE e.ctid >= format('(%s,0)', @from_block::bigint)::tid
      AND e.ctid < format('(%s,0)', @to_block::bigint)::tid
      AND c.id = e.consumer_id
      AND e.processed_at < now() - c.retention
    RETURNING e.consumer_id
)
SELECT c.name AS consumer, count(*) AS deleted
FROM expired JOIN idem.consumers c ON c.id = expired.consumer_id
GROUP BY c.name
ORDER BY c.name;

-- name: EventCountExpired :many
-- What EventDeleteExpired would delete over all blocks. Reads the whole table.
SELECT c.name AS consumer, count(*) AS expired
FROM idem.processed_events e JOIN idem.consumers c ON c.id = e.consumer_id
WHERE e.processed_at < now() - c.retention
GROUP BY c.name
ORDER BY c.name;

-- name: EventCountOlder :one
-- How many of a consumer's events would be expired if its retention were max_age. Reads all of
-- its events.
SELECT count(*) FROM idem.processed_events
WHERE consumer_id = @consumer_id AND processed_at < now() - @max_age::interval;

-- name: EventStats :many
-- Exact figures for each consumer; oldest and newest mean nothing where events is 0. Reads the
-- whole table.
SELECT c.name AS consumer, c.retention, c.created_at,
       coalesce(s.events, 0)::bigint AS events, coalesce(s.expired, 0)::bigint AS expired,
       coalesce(s.oldest, 'epoch')::timestamptz AS oldest, coalesce(s.newest, 'epoch')::timestamptz AS newest
FROM idem.consumers c
LEFT JOIN (
    SELECT e.consumer_id, count(*) AS events, min(e.processed_at) AS oldest, max(e.processed_at) AS newest,
           count(*) FILTER (WHERE e.processed_at < now() - k.retention) AS expired
    FROM idem.processed_events e JOIN idem.consumers k ON k.id = e.consumer_id
    GROUP BY e.consumer_id
) s ON s.consumer_id = c.id
ORDER BY c.name;

-- name: TableSizes :one
-- Bytes on disk: the rows with their TOAST data, and their index.
SELECT pg_table_size('idem.processed_events') AS table_bytes, pg_indexes_size('idem.processed_events') AS index_bytes;
