-- name: ConsumerClose :execrows
-- Closes a consumer, whose rows an operator is about to move or delete. Nobody can register it then.
UPDATE idem.consumers SET closed = @closed::text WHERE id = @id AND (closed IS NULL OR closed = @closed::text);

-- name: ConsumerCopy :execrows
-- Makes a closed consumer of another name with all that is known of one. No row if there is one of that
-- name already.
INSERT INTO idem.consumers (id, name, retention, created_at, bound_cluster, bound_group, closed, paused_at, paused_by, pause_reason)
SELECT idem.consumer_id(@name::text), @name::text, c.retention, c.created_at, c.bound_cluster, c.bound_group, @closed::text, c.paused_at, c.paused_by, c.pause_reason
FROM idem.consumers c WHERE c.id = @id
ON CONFLICT DO NOTHING;

-- name: ConsumerOpen :execrows
UPDATE idem.consumers SET closed = NULL WHERE id = @id;

-- name: ConsumerDelete :execrows
-- Only one without rows.
DELETE FROM idem.consumers c
WHERE c.id = @id
  AND NOT EXISTS (SELECT FROM idem.processed_events e WHERE e.consumer_id = c.id)
  AND NOT EXISTS (SELECT FROM idem.checkpoints p WHERE p.consumer_id = c.id)
  AND NOT EXISTS (SELECT FROM idem.dead_letters d WHERE d.consumer_id = c.id)
  AND NOT EXISTS (SELECT FROM idem.leases l WHERE l.consumer_id = c.id)
  AND NOT EXISTS (SELECT FROM idem.results r WHERE r.consumer_id = c.id);

-- name: ConsumerRows :one
-- How many rows a consumer has. Reads all of them.
SELECT (SELECT count(*) FROM idem.processed_events e WHERE e.consumer_id = @id) AS events,
       (SELECT count(*) FROM idem.checkpoints p WHERE p.consumer_id = @id) AS checkpoints,
       (SELECT count(*) FROM idem.dead_letters d WHERE d.consumer_id = @id) AS dead_letters,
       (SELECT count(*) FROM idem.dead_letters d WHERE d.consumer_id = @id AND d.state IN ('open', 'parked', 'replay')) AS unresolved,
       (SELECT count(*) FROM idem.leases l WHERE l.consumer_id = @id) AS leases,
       (SELECT count(*) FROM idem.results r WHERE r.consumer_id = @id) AS results,
       extract(epoch FROM now())::float8 AS counted_seconds;

-- name: ConsumerActivity :one
-- Whether a consumer has done something since a time, in seconds since 1970, at which it had so many events, as far as committed rows
-- tell. An event of a transaction that began before that time is older, and is counted. Reads all its events.
SELECT (SELECT count(*) > @events::bigint OR count(*) FILTER (WHERE e.processed_at >= since.moment) > 0 FROM idem.processed_events e WHERE e.consumer_id = @id)::boolean AS events,
       EXISTS (SELECT FROM idem.dead_letters d WHERE d.consumer_id = @id AND (d.failed_at >= since.moment OR d.resolved_at >= since.moment)) AS dead_letters,
       EXISTS (SELECT FROM idem.leases l WHERE l.consumer_id = @id AND l.state = 'running' AND l.until > clock_timestamp()) AS leases
FROM (SELECT to_timestamp(@since_seconds::float8) AS moment) since;

-- name: ConsumerCheckpoints :one
-- What changes when an owner acquires or advances a checkpoint.
SELECT coalesce(string_agg(p.topic || ' ' || p.partition::text || ' ' || p.lane::text || ' ' || p.next_offset::text || ' ' || p.epoch::text, ',' ORDER BY p.topic, p.partition, p.lane), '')::text AS places
FROM idem.checkpoints p WHERE p.consumer_id = @id;

-- name: EventMove :one
-- Gives the next events of a consumer behind a key to another consumer. One that the other knows stays
-- what it is there. Tells the last key, or an empty text where there are
-- no more. OFFSET 0 has each key looked up by the index: the statistics do not know yet that the other consumer has
-- events, and a join would go through all of them for each event.
WITH batch AS (
    SELECT e.key FROM idem.processed_events e
    WHERE e.consumer_id = @id AND e.key > CAST(@after::text AS uuid)
    ORDER BY e.key
    LIMIT @rows
), final AS (
    SELECT b.key FROM batch b ORDER BY b.key DESC LIMIT 1
), known AS (
    DELETE FROM idem.processed_events m
    WHERE m.consumer_id = @id AND m.key > CAST(@after::text AS uuid) AND m.key <= (SELECT f.key FROM final f)
      AND EXISTS (SELECT FROM idem.processed_events o WHERE o.consumer_id = @to_id AND o.key = m.key OFFSET 0)
    RETURNING 1
), moved AS (
    UPDATE idem.processed_events m SET consumer_id = @to_id
    WHERE m.consumer_id = @id AND m.key > CAST(@after::text AS uuid) AND m.key <= (SELECT f.key FROM final f)
      AND NOT EXISTS (SELECT FROM idem.processed_events o WHERE o.consumer_id = @to_id AND o.key = m.key OFFSET 0)
    RETURNING 1
)
SELECT ((SELECT count(*) FROM moved) + (SELECT count(*) FROM known))::bigint AS moved,
       coalesce((SELECT f.key::text FROM final f), '')::text AS last;

-- name: EventRemove :one
-- Deletes the next events of a consumer behind a key. Tells the last key, or an empty text where there are
-- no more.
WITH batch AS (
    SELECT e.key FROM idem.processed_events e
    WHERE e.consumer_id = @id AND e.key > CAST(@after::text AS uuid)
    ORDER BY e.key
    LIMIT @rows
), final AS (
    SELECT b.key FROM batch b ORDER BY b.key DESC LIMIT 1
), removed AS (
    DELETE FROM idem.processed_events m
    WHERE m.consumer_id = @id AND m.key > CAST(@after::text AS uuid) AND m.key <= (SELECT f.key FROM final f)
    RETURNING 1
)
SELECT (SELECT count(*) FROM removed) AS moved,
       coalesce((SELECT f.key::text FROM final f), '')::text AS last;

-- name: CheckpointMove :execrows
-- Gives all checkpoints of a consumer to another one. Owners of theirs are refused from then on.
UPDATE idem.checkpoints SET consumer_id = @to_id WHERE consumer_id = @id;

-- name: CheckpointRemove :execrows
DELETE FROM idem.checkpoints WHERE consumer_id = @id;

-- name: DeadLetterMove :execrows
-- Gives some dead letters of a consumer to another one.
UPDATE idem.dead_letters l SET consumer_id = @to_id
WHERE l.consumer_id = @id AND l.ctid = ANY (ARRAY(SELECT d.ctid FROM idem.dead_letters d WHERE d.consumer_id = @id LIMIT @rows));

-- name: DeadLetterRemove :execrows
DELETE FROM idem.dead_letters l
WHERE l.consumer_id = @id AND l.ctid = ANY (ARRAY(SELECT d.ctid FROM idem.dead_letters d WHERE d.consumer_id = @id LIMIT @rows));

-- name: LeaseMove :execrows
-- Gives some leases of a consumer to another one. Who holds one is refused from then on.
UPDATE idem.leases m SET consumer_id = @to_id
WHERE m.consumer_id = @id AND m.ctid = ANY (ARRAY(
    SELECT l.ctid FROM idem.leases l
    WHERE l.consumer_id = @id AND NOT EXISTS (SELECT FROM idem.leases o WHERE o.consumer_id = @to_id AND o.key = l.key)
    LIMIT @rows));

-- name: LeaseRemove :execrows
DELETE FROM idem.leases m
WHERE m.consumer_id = @id AND m.ctid = ANY (ARRAY(SELECT l.ctid FROM idem.leases l WHERE l.consumer_id = @id LIMIT @rows));

-- name: ResultMove :execrows
-- Gives some results of a consumer to another one. One that the other has stays what it is there.
UPDATE idem.results m SET consumer_id = @to_id
WHERE m.consumer_id = @id AND m.ctid = ANY (ARRAY(
    SELECT r.ctid FROM idem.results r
    WHERE r.consumer_id = @id AND NOT EXISTS (SELECT FROM idem.results o WHERE o.consumer_id = @to_id AND o.key = r.key AND o.step = r.step)
    LIMIT @rows));

-- name: ResultRemove :execrows
DELETE FROM idem.results m
WHERE m.consumer_id = @id AND m.ctid = ANY (ARRAY(SELECT r.ctid FROM idem.results r WHERE r.consumer_id = @id LIMIT @rows));
