-- name: OutboxInsert :exec
-- One statement for many records, in their order. Headers are the text of arrays, empty without any.
INSERT INTO idem.outbox (key_hash, event_id, topic, key, value, header_keys, header_values)
SELECT nullif(r.key_hash, 0), r.event_id, r.topic, r.key, r.value, nullif(r.header_keys, '')::bytea[], nullif(r.header_values, '')::bytea[]
FROM (
    SELECT pg_catalog.unnest(@key_hashes::bigint[]) AS key_hash, pg_catalog.unnest(@event_ids::text[]) AS event_id, pg_catalog.unnest(@topics::text[]) AS topic,
           pg_catalog.unnest(@keys::bytea[]) AS key, pg_catalog.unnest(@values::bytea[]) AS value,
           pg_catalog.unnest(@header_keys::text[]) AS header_keys, pg_catalog.unnest(@header_values::text[]) AS header_values
) r;

-- name: OutboxTakeTurn :one
-- Waits until no other relay is at work, for as long as a turn can be idle at most (lock_timeout, which is set first): who waits longer asks
-- again, and so finds out if the server is gone. The turn ends with the transaction, or once the relay has been idle in it
-- for too long, frozen for instance. Drawn is the highest id that was given out. The planner is made to enter the table by its
-- indexes: what it knows of a table that fills and empties all the time is wrong most of the time, and the worst choice costs
-- much. (What is switched off counts as very expensive, which alone would start the compiler, jit.)
SELECT coalesce(pg_sequence_last_value('idem.outbox_id_seq'::regclass), 0)::bigint AS drawn,
       (set_config('lock_timeout', @milliseconds::text, true) || pg_advisory_xact_lock(@lock_key::bigint)::text || set_config('idle_in_transaction_session_timeout', @milliseconds::text, true)
       || set_config('jit', 'off', true) || set_config('enable_seqscan', 'off', true) || set_config('enable_sort', 'off', true))::text AS taken;

-- name: OutboxSnapshot :one
-- By what a relay sees that no transaction has ended since it has read all, and so nothing was published.
SELECT pg_current_snapshot()::text AS snapshot, (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS server;

-- name: OutboxLook :one
-- Does what somebody has decided about failed records: deletes or releases them, and releases what is parked
-- behind them. It is parked under the same hash, be it since the decision. Held says whether there are failed or parked
-- records, or were before. Without a decision nothing is read, and with one the records that have a state.
WITH decided AS (
    SELECT id, key_hash, state FROM idem.outbox WHERE state IN ('retry', 'discard')
), discarded AS (
    DELETE FROM idem.outbox WHERE id IN (SELECT id FROM decided WHERE state = 'discard')
), released AS (
    UPDATE idem.outbox SET state = NULL, error = NULL
    WHERE EXISTS (SELECT FROM decided) AND (state = 'retry' OR state = 'parked' AND key_hash IN (SELECT key_hash FROM decided))
    RETURNING id
)
SELECT pg_current_snapshot()::text AS snapshot, (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS server,
       EXISTS (SELECT FROM released) AS released, EXISTS (SELECT FROM idem.outbox h WHERE h.state IS NOT NULL) AS held;

-- name: OutboxNumber :exec
-- Has the server give this transaction its number.
SELECT pg_current_xact_id();

-- name: OutboxRead :many
-- The next records of those that are committed in the snapshot target and were not in the snapshot done,
-- in the order of their ids: of transactions whose numbers are not below done, and whose ids are higher than low, and
-- of those that done has under way. A number that this server has not given out yet is of the server that the row was restored
-- from. Waiting are topics to leave out. Bytes is the size of a record and those before it. Whether a
-- record is held by another is only asked if some is.
WITH begun AS (
    SELECT o.id, o.created_at, o.key_hash, o.event_id, o.topic, o.key, o.value, o.header_keys, o.header_values
    FROM idem.outbox o
    WHERE o.id > greatest(@low::bigint, @after::bigint) AND o.state IS NULL AND o.topic <> ALL(@waiting::text[])
      AND o.xid >= (SELECT pg_snapshot_xmax(CAST(@done::text AS pg_snapshot)))
      AND (pg_visible_in_snapshot(o.xid, (SELECT CAST(@target::text AS pg_snapshot))) OR o.xid >= (SELECT pg_snapshot_xmax(pg_current_snapshot())))
    ORDER BY o.id
    LIMIT @max_records::integer
), late AS (
    SELECT o.id, o.created_at, o.key_hash, o.event_id, o.topic, o.key, o.value, o.header_keys, o.header_values
    FROM (
        SELECT t.xid FROM pg_snapshot_xip(CAST(@done::text AS pg_snapshot)) AS t(xid) WHERE pg_visible_in_snapshot(t.xid, (SELECT CAST(@target::text AS pg_snapshot)))
    ) ended
    CROSS JOIN LATERAL (
        SELECT * FROM idem.outbox l
        WHERE l.xid = ended.xid AND l.id > @after::bigint AND l.state IS NULL AND l.topic <> ALL(@waiting::text[])
        ORDER BY l.id
        LIMIT @max_records::integer
    ) o
), next AS (
    SELECT n.*, coalesce(octet_length(n.key), 0) + coalesce(octet_length(n.value), 0) + octet_length(n.event_id)
           + coalesce(octet_length(array_send(n.header_keys)) + octet_length(array_send(n.header_values)), 0) + 164 AS size
    FROM (SELECT * FROM begun UNION ALL SELECT * FROM late ORDER BY id LIMIT @max_records::integer) n
), counted AS (
    SELECT *, sum(size) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) AS bytes FROM next
)
SELECT c.id, c.bytes, c.created_at, coalesce(c.key_hash, 0)::bigint AS key_hash, c.event_id, c.topic, c.key, c.value, c.header_keys, c.header_values,
       coalesce(@held::boolean AND EXISTS (SELECT FROM idem.outbox h WHERE h.key_hash = c.key_hash AND h.state IS NOT NULL), false)::boolean AS held
FROM counted c
WHERE c.bytes <= @max_bytes::bigint OR c.bytes = c.size
ORDER BY c.id;

-- name: OutboxDelete :exec
-- Kafka has these.
DELETE FROM idem.outbox WHERE id = ANY(@ids::bigint[]);

-- name: OutboxFail :exec
-- Kafka refuses these.
UPDATE idem.outbox o SET state = 'failed', error = f.error
FROM (SELECT pg_catalog.unnest(@ids::bigint[]) AS id, pg_catalog.unnest(@errors::text[]) AS error) f
WHERE o.id = f.id;

-- name: OutboxPark :exec
-- These wait behind one that is failed.
UPDATE idem.outbox SET state = 'parked' WHERE id = ANY(@ids::bigint[]);

-- name: OutboxCounts :one
-- How many records wait for the relay, counted up to a limit, when the first of them was published, and how many are failed and parked.
-- What was decided about waits for the relay, too. Times as in TableState.
SELECT (SELECT count(*) FROM (SELECT w.id FROM idem.outbox w WHERE w.state IS NULL OR w.state IN ('retry', 'discard') LIMIT @max_count::bigint) w) AS waiting,
       coalesce((SELECT (extract(epoch FROM w.created_at) * 1000000)::bigint FROM idem.outbox w WHERE w.state IS NULL OR w.state IN ('retry', 'discard') ORDER BY w.id LIMIT 1), 0)::bigint AS oldest_micros,
       count(*) FILTER (WHERE h.state = 'failed') AS failed, count(*) FILTER (WHERE h.state = 'parked') AS parked
FROM idem.outbox h WHERE h.state IS NOT NULL;

-- name: OutboxHeld :many
-- Records that wait for somebody to decide, or behind one of those, the first ones first.
SELECT o.id, (extract(epoch FROM o.created_at) * 1000000)::bigint AS created_micros, o.event_id, o.topic, coalesce(o.state, '')::text AS state,
       coalesce(o.error, '')::text AS error, o.key, coalesce(octet_length(o.value), 0)::bigint AS value_bytes,
       (SELECT count(*) FROM idem.outbox p WHERE p.key_hash = o.key_hash AND p.state = 'parked' AND o.state <> 'parked') AS parked
FROM idem.outbox o
WHERE o.state IS NOT NULL AND o.state = ANY(@states::text[])
  AND (sqlc.narg(topic)::text IS NULL OR o.topic = sqlc.narg(topic)) AND (sqlc.narg(ids)::bigint[] IS NULL OR o.id = ANY(sqlc.narg(ids)::bigint[]))
ORDER BY o.id
LIMIT sqlc.narg(max_rows)::integer;

-- name: OutboxOfEvent :many
-- The records of an event, as those of OutboxHeld and those that wait for the relay, among the first ones of the outbox: there is no index on
-- the event id, which would cost each publication.
SELECT o.id, (extract(epoch FROM o.created_at) * 1000000)::bigint AS created_micros, o.event_id, o.topic, coalesce(o.state, 'waiting')::text AS state,
       coalesce(o.error, '')::text AS error, o.key, coalesce(octet_length(o.value), 0)::bigint AS value_bytes,
       (SELECT count(*) FROM idem.outbox p WHERE p.key_hash = o.key_hash AND p.state = 'parked' AND o.state <> 'parked') AS parked
FROM idem.outbox o
WHERE o.event_id = @event_id AND o.id < @before::bigint
ORDER BY o.id
LIMIT @max_rows::integer;

-- name: OutboxBehind :one
-- The id of the first record behind a number of others, or more than any.
SELECT coalesce((SELECT o.id FROM idem.outbox o ORDER BY o.id OFFSET @records::bigint LIMIT 1), 9223372036854775807)::bigint;

-- name: OutboxDecide :many
-- The relay does it.
UPDATE idem.outbox SET state = @decision::text WHERE id = ANY(@ids::bigint[]) AND state = 'failed' RETURNING id;
