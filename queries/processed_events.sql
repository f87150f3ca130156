-- name: EventClaim :many
-- Says how many of the keys are the caller's to process, and which, unless it is all of them. A key
-- that a transaction in progress holds is waited for; it is the caller's if that transaction rolls
-- back and not if it commits. The keys must be distinct. They are inserted in order, so that two
-- statements which claim the same keys wait for each other in one direction only. One row, always.
-- Event ids, metadata and fingerprints that are empty, 0 or missing at the end of their arrays are null. UUIDs
-- travel here as text: pgx encodes an array of strings in every query execution mode, one of UUIDs only in
-- some, and a single uuid.UUID by way of an error that it makes and drops, which takes more than ten
-- times as long.
WITH claim AS (
    INSERT INTO idem.processed_events (consumer_id, key, claim_id, event_id, metadata, fingerprint)
    SELECT @consumer_id::bigint, c.key::uuid, CAST(@claim_id::text AS uuid), nullif(c.event_id, ''), nullif(c.metadata, '')::jsonb, nullif(c.fingerprint, 0)
    FROM (
        SELECT unnest(@keys::text[]) AS key, unnest(@event_ids::text[]) AS event_id, unnest(@metadata::text[]) AS metadata, pg_catalog.unnest(@fingerprints::bigint[]) AS fingerprint
    ) c
    ORDER BY c.key::uuid
    ON CONFLICT DO NOTHING
    RETURNING key
)
SELECT count(*) AS claimed,
       CASE WHEN count(*) < cardinality(@keys::text[]) THEN coalesce(array_agg(key::text), '{}') ELSE '{}' END::text[] AS part
FROM claim;

-- name: EventClaimOne :execrows
-- EventClaim for one event: one row if it is the caller's to process, else none. There is nothing to
-- unnest, to sort or to count, so it costs the server less. Neither is there an expression that makes an
-- empty value null, for each takes 1.5 % of the server's instructions for the whole transaction.
INSERT INTO idem.processed_events (consumer_id, key, claim_id, event_id, metadata, fingerprint)
VALUES (@consumer_id, CAST(@key::text AS uuid), CAST(@claim_id::text AS uuid), sqlc.narg(event_id)::text, sqlc.narg(metadata)::text::jsonb, sqlc.narg(fingerprint)::bigint)
ON CONFLICT DO NOTHING;

-- name: EventClaimOwned :many
-- EventClaimOne for the owner of a partition, who claims nothing once another one has acquired it. The
-- checkpoint stays where it is; it is locked, so that a transaction whose snapshot is older than the
-- present owner (REPEATABLE READ) fails and is repeated. One row, always.
WITH mine AS (
    SELECT FROM idem.checkpoints
    WHERE consumer_id = @consumer_id::bigint AND topic = @topic AND partition = @partition AND lane = 0
      AND owner_token = CAST(@owner_token::text AS uuid)
    FOR SHARE
), claim AS (
    INSERT INTO idem.processed_events (consumer_id, key, claim_id, event_id, metadata, fingerprint)
    SELECT @consumer_id::bigint, CAST(@key::text AS uuid), CAST(@claim_id::text AS uuid), nullif(@event_id::text, ''), nullif(@metadata::text, '')::jsonb, nullif(@fingerprint::bigint, 0)
    WHERE EXISTS (SELECT FROM mine)
    ON CONFLICT DO NOTHING
    RETURNING key
)
SELECT EXISTS (SELECT FROM mine) AS owned, count(*) AS claimed FROM claim;

-- name: EventClaimOrFail :exec
-- EventClaimOne that fails with unique_violation (23505) where the event is not the caller's to
-- process, so that nothing behind it in the same pipeline is executed. It waits as EventClaimOne does.
-- Only for a pipeline that begins and ends the transaction: any other would be aborted with it.
INSERT INTO idem.processed_events (consumer_id, key, claim_id, event_id, metadata, fingerprint)
VALUES (@consumer_id, CAST(@key::text AS uuid), CAST(@claim_id::text AS uuid), sqlc.narg(event_id)::text, sqlc.narg(metadata)::text::jsonb, sqlc.narg(fingerprint)::bigint);

-- name: EventSetHandlerDuration :exec
-- Runs in the claiming transaction, before its COMMIT: nobody else sees the row without it.
UPDATE idem.processed_events
SET metadata = coalesce(metadata, '{}') || jsonb_build_object('handler_ms', @handler_ms::float8)
WHERE consumer_id = @consumer_id AND key = @key;

-- name: RoleNote :exec
-- Notes the role of the claiming transaction, which a handler may change (SET LOCAL ROLE).
SELECT set_config('idem_guard.role', current_setting('role'), true);

-- name: RoleOfGuard :exec
-- Takes up the role that RoleNote noted, and notes the handler's.
SELECT set_config('idem_guard.handler_role', current_setting('role'), true),
       set_config('role', current_setting('idem_guard.role'), true);

-- name: RoleOfHandler :exec
-- Takes up the handler's role again, in which its deferred triggers run.
SELECT set_config('role', current_setting('idem_guard.handler_role'), true);

-- name: TransactionIsOpen :one
-- Whether a transaction that has claimed an event has not been ended since. It fails where a statement failed.
SELECT (pg_current_xact_id_if_assigned() IS NOT NULL)::boolean AS is_open;

-- name: EventGet :one
-- A committed claim, whole. None says nothing about transactions in progress, so it must never
-- decide whether to process an event. The time is a number, in microseconds, within what Go and JSON can hold, because the session's DateStyle
-- decides how the server writes it as text.
SELECT key, claim_id, (extract(epoch FROM greatest(least(processed_at, timestamptz '9999-12-31 23:59:59+00'), timestamptz '0001-01-01 00:00:00+00')) * 1000000)::bigint AS processed_micros, event_id, metadata, coalesce(fingerprint, 0)::bigint AS fingerprint
FROM idem.processed_events WHERE consumer_id = @consumer_id AND key = @key;

-- name: EventDuplicates :many
-- What the claims of duplicates tell, those of this transaction too: fingerprint, time and place as far as
-- they have them. The place is text, whatever somebody has made of the metadata. Times are as in EventGet.
SELECT key, coalesce(fingerprint, 0)::bigint AS fingerprint,
       (extract(epoch FROM greatest(least(processed_at, timestamptz '9999-12-31 23:59:59+00'), timestamptz '0001-01-01 00:00:00+00')) * 1000000)::bigint AS processed_micros,
       (extract(epoch FROM now()) * 1000000)::bigint AS now_micros,
       coalesce(metadata->>'topic', '')::text AS topic, coalesce(metadata->>'partition', '')::text AS partition, coalesce(metadata->>'offset', '')::text AS record_offset
FROM idem.processed_events
WHERE consumer_id = @consumer_id AND key = ANY (CAST(@keys::text[] AS uuid[]));

-- name: EventReclaim :exec
-- Makes the event of a dead letter claimable in the same transaction that claims it, so that it is
-- remembered from then on. A claim of another call stays, unless any is meant (no claim_id).
DELETE FROM idem.processed_events
WHERE consumer_id = @consumer_id AND key = CAST(@key::text AS uuid)
  AND (@claim_id::text = '' OR claim_id = CAST(nullif(@claim_id::text, '') AS uuid));

-- name: EventForget :execrows
-- Makes the events claimable again. The result of a leased event goes with its claim.
WITH results AS (
    DELETE FROM idem.results r WHERE r.consumer_id = @consumer_id AND r.key IN (
        SELECT e.key FROM idem.processed_events e WHERE e.consumer_id = @consumer_id AND e.key = ANY (CAST(@keys::text[] AS uuid[])))
)
DELETE FROM idem.processed_events d WHERE d.consumer_id = @consumer_id AND d.key = ANY (CAST(@keys::text[] AS uuid[]));

-- name: EventHeap :one
-- The table's size in blocks, and whether cleanup can read it by them: it cannot if its rows are in
-- other tables, as partitions, children or shards are. Rows that are inserted later can stand in
-- blocks beyond, but such rows are not expired.
SELECT (pg_relation_size(t.oid) / current_setting('block_size')::bigint)::bigint AS blocks, t.relkind::text AS kind, coalesce(a.amname::text, '')::text AS access_method,
       EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = t.oid) AS has_children,
       EXISTS (SELECT FROM idem.processed_events) AS has_rows
FROM pg_catalog.pg_class t LEFT JOIN pg_catalog.pg_am a ON a.oid = t.relam
WHERE t.oid = 'idem.processed_events'::regclass;

-- name: EventDeleteExpired :many
-- Deletes what is older than its own consumer's retention in the blocks [from_block, to_block)
-- of the heap, with the results of leased events, and counts it for each consumer. It waits for nobody: rows that others have locked stay for
-- the next pass, and nothing is deleted while another cleanup leads. It is a transaction of its own,
-- so that no client can stop between its locks and its COMMIT. One row at least.
WITH lead AS (
    SELECT FROM idem.cleanup FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM idem.processed_events d
    WHERE d.ctid = ANY (ARRAY (
        SELECT e.ctid
        FROM idem.processed_events e JOIN idem.consumers c ON c.id = e.consumer_id
        WHERE EXISTS (SELECT FROM lead)
          AND e.ctid >= format('(%s,0)', @from_block::bigint)::tid
          AND e.ctid < format('(%s,0)', @to_block::bigint)::tid
          AND e.processed_at < now() - c.retention
        FOR UPDATE OF e SKIP LOCKED))
    RETURNING d.consumer_id, d.key
), results AS (
    DELETE FROM idem.results r USING gone g WHERE r.consumer_id = g.consumer_id AND r.key = g.key
)
SELECT l.leading, coalesce(d.consumer, '')::text AS consumer, coalesce(d.deleted, 0)::bigint AS deleted
FROM (SELECT EXISTS (SELECT FROM lead) AS leading) l LEFT JOIN (
    SELECT c.name AS consumer, count(*) AS deleted
    FROM gone JOIN idem.consumers c ON c.id = gone.consumer_id
    GROUP BY c.name
) d ON true
ORDER BY d.consumer;

-- name: CleanupLeadExists :one
-- Whether there is the row that whoever cleans up locks.
SELECT EXISTS (SELECT FROM idem.cleanup) AS found;

-- name: CleanupLeaders :many
-- The sessions that hold the lead of the cleanup, for people.
SELECT l.pid::integer AS pid, coalesce(a.usename::text, '')::text AS role, coalesce(a.application_name, '')::text AS application
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.relation = 'idem.cleanup'::regclass AND l.granted AND l.mode <> 'AccessShareLock'
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND l.pid <> pg_backend_pid();

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
-- Figures for each consumer, by a percentage of the table's blocks; exact where that is 100. Oldest and
-- newest mean nothing where events is 0. Retention and times are as in ConsumerByName.
SELECT c.name AS consumer, (extract(epoch FROM c.retention) * 1000000)::bigint AS retention_micros,
       (extract(epoch FROM greatest(least(c.created_at, timestamptz '9999-12-31 23:59:59+00'), timestamptz '0001-01-01 00:00:00+00 BC')) * 1000000)::bigint AS created_micros,
       coalesce(s.events * 100 / @percent::float8, 0)::bigint AS events, coalesce(s.expired * 100 / @percent::float8, 0)::bigint AS expired,
       (extract(epoch FROM greatest(least(coalesce(s.oldest, timestamptz 'epoch'), timestamptz '9999-12-31 23:59:59+00'), timestamptz '0001-01-01 00:00:00+00 BC')) * 1000000)::bigint AS oldest_micros,
       (extract(epoch FROM greatest(least(coalesce(s.newest, timestamptz 'epoch'), timestamptz '9999-12-31 23:59:59+00'), timestamptz '0001-01-01 00:00:00+00 BC')) * 1000000)::bigint AS newest_micros,
       coalesce((extract(epoch FROM greatest(least(c.paused_at, timestamptz '9999-12-31 23:59:59+00'), timestamptz '0001-01-01 00:00:00+00 BC')) * 1000000)::bigint, 0)::bigint AS paused_micros, c.paused_by, c.pause_reason
FROM idem.consumers c
LEFT JOIN (
    SELECT e.consumer_id, count(*) AS events, min(e.processed_at) AS oldest, max(e.processed_at) AS newest,
           count(*) FILTER (WHERE e.processed_at < now() - k.retention) AS expired
    FROM idem.processed_events e TABLESAMPLE SYSTEM (@percent::float8) JOIN idem.consumers k ON k.id = e.consumer_id
    GROUP BY e.consumer_id
) s ON s.consumer_id = c.id
ORDER BY c.name;

-- name: TableState :one
-- Bytes on disk (the rows with their TOAST data, and their index), and what the server's statistics
-- say, which are estimates and lost in a crash; a vacuum that is not known of was at 0. Times are microseconds
-- since 1970.
SELECT pg_table_size(t.id) AS table_bytes, pg_indexes_size(t.id) AS index_bytes,
       pg_stat_get_live_tuples(t.id)::bigint AS live_rows, pg_stat_get_dead_tuples(t.id)::bigint AS dead_rows,
       coalesce((extract(epoch FROM pg_stat_get_last_vacuum_time(t.id)) * 1000000)::bigint, 0)::bigint AS last_vacuum_micros,
       coalesce((extract(epoch FROM pg_stat_get_last_autovacuum_time(t.id)) * 1000000)::bigint, 0)::bigint AS last_autovacuum_micros,
       (extract(epoch FROM now()) * 1000000)::bigint AS read_micros
FROM (SELECT 'idem.processed_events'::regclass::oid AS id) t;

-- name: EventPackedBytes :one
-- Bytes of an average row where nothing is wasted, by a sample: header and columns that are always
-- there (68), the others, alignment to 8 bytes and the row's pointer (4).
SELECT coalesce(avg((68 + coalesce(pg_column_size(event_id), 0) + coalesce(pg_column_size(metadata), 0) + 7) / 8 * 8 + 4), 0)::float8 AS row_bytes
FROM (SELECT event_id, metadata FROM idem.processed_events LIMIT 10000) e;

-- name: EventImport :one
-- Takes over events that were processed elsewhere, with the times when they were, in microseconds since
-- 1970. Tells how many of them are older than the consumer's retention, which are left out, and how many
-- are new; known is 0 where the consumer is not. Inserted in order, as by EventClaim; metadata that are
-- empty are null.
WITH event AS (
    SELECT idem.event_key(s.event_id) AS key, s.claim_id::uuid AS claim_id, s.event_id, nullif(s.metadata, '')::jsonb AS metadata,
           s.processed_at, s.processed_at < pg_catalog.now() - c.retention AS expired
    FROM (
        SELECT pg_catalog.unnest(@event_ids::text[]) AS event_id, pg_catalog.unnest(@claim_ids::text[]) AS claim_id,
               pg_catalog.unnest(@metadata::text[]) AS metadata,
               timestamptz 'epoch' + pg_catalog.unnest(@processed_micros::bigint[]) * interval '1 microsecond' AS processed_at
    ) s JOIN idem.consumers c ON c.id = @consumer_id::bigint
), imported AS (
    INSERT INTO idem.processed_events (processed_at, consumer_id, key, claim_id, event_id, metadata)
    SELECT e.processed_at, @consumer_id::bigint, e.key, e.claim_id, nullif(e.event_id, e.key::text),
           CASE WHEN e.metadata <> 'null' THEN pg_catalog.jsonb_build_object('user', e.metadata) END
    FROM event e
    WHERE NOT e.expired
    ORDER BY e.key
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT pg_catalog.count(*) AS known, pg_catalog.count(*) FILTER (WHERE expired) AS expired, (SELECT pg_catalog.count(*) FROM imported) AS imported
FROM event;
