-- name: LeaseAcquire :exec
-- Begins an attempt of an event that is free, unless the event came with another fingerprint. Whether that succeeded
-- LeaseLook tells, behind it in the same transaction (READ COMMITTED): its snapshot is younger than the wait for a
-- transaction that processes the event. A lease that is released and needs a decision has one: to run the event again.
INSERT INTO idem.leases AS l (consumer_id, key, event_id, fingerprint, token, until, needs_decision)
SELECT @consumer_id::bigint, CAST(@key::text AS uuid), sqlc.narg(event_id)::text, sqlc.narg(fingerprint)::bigint, CAST(@token::text AS uuid),
       clock_timestamp() + @duration::interval, NOT @takes_over::boolean
WHERE NOT EXISTS (SELECT FROM idem.processed_events e WHERE e.consumer_id = @consumer_id::bigint AND e.key = CAST(@key::text AS uuid))
ON CONFLICT (consumer_id, key) DO UPDATE SET
    token = excluded.token, state = 'running', until = clock_timestamp() + @duration::interval,
    attempts = l.attempts + 1, unknown = l.unknown + CASE WHEN l.state = 'running' THEN 1 ELSE 0 END,
    fingerprint = coalesce(l.fingerprint, excluded.fingerprint),
    needs_decision = excluded.needs_decision OR l.needs_decision AND l.state = 'released'
WHERE l.until <= clock_timestamp() AND (l.state = 'released' OR @takes_over::boolean)
  AND coalesce(l.fingerprint = excluded.fingerprint, true);

-- name: LeaseLook :one
-- What is known of an event: its claim with its result, else its lease. Times are microseconds, since 1970 or
-- until then. A lease that was acquired behind the claim is dropped.
WITH dropped AS (
    DELETE FROM idem.leases d WHERE d.consumer_id = @consumer_id::bigint AND d.key = CAST(@key::text AS uuid) AND d.token = CAST(@token::text AS uuid)
      AND EXISTS (SELECT FROM idem.processed_events p WHERE p.consumer_id = d.consumer_id AND p.key = d.key)
)
SELECT (e.key IS NOT NULL)::boolean AS claimed, coalesce(e.fingerprint, l.fingerprint, 0)::bigint AS fingerprint,
       coalesce((extract(epoch FROM greatest(least(coalesce(e.processed_at, l.first_at), timestamptz '9999-12-31 23:59:59+00'), timestamptz '0001-01-01 00:00:00+00')) * 1000000)::bigint, 0)::bigint AS first_micros,
       coalesce(r.content_type, '')::text AS content_type, coalesce(r.body, '')::bytea AS body,
       (l.key IS NOT NULL)::boolean AS leased, coalesce(l.token = CAST(@token::text AS uuid), false)::boolean AS mine, coalesce(l.state, '')::text AS state,
       coalesce(l.attempts, 0)::integer AS attempts, coalesce(l.unknown, 0)::integer AS unknown, coalesce(l.needs_decision, false)::boolean AS needs_decision,
       coalesce(l.error, '')::text AS error,
       coalesce((extract(epoch FROM l.until) * 1000000)::bigint, 0)::bigint AS until_micros,
       coalesce((extract(epoch FROM l.until - clock_timestamp()) * 1000000)::bigint, 0)::bigint AS left_micros
FROM (SELECT @consumer_id::bigint AS consumer_id, CAST(@key::text AS uuid) AS key) q
LEFT JOIN idem.processed_events e ON e.consumer_id = q.consumer_id AND e.key = q.key
LEFT JOIN idem.results r ON r.consumer_id = q.consumer_id AND r.key = q.key AND r.step = ''
LEFT JOIN idem.leases l ON l.consumer_id = q.consumer_id AND l.key = q.key;

-- name: LeaseNeedsDecision :exec
-- Has an operator decide about an attempt that may have taken effect, whatever its own policy was.
UPDATE idem.leases SET needs_decision = true
WHERE consumer_id = @consumer_id AND key = CAST(@key::text AS uuid) AND NOT needs_decision AND state <> 'released' AND until <= clock_timestamp();

-- name: LeaseExtend :execrows
UPDATE idem.leases SET until = clock_timestamp() + @duration::interval
WHERE consumer_id = @consumer_id AND key = CAST(@key::text AS uuid) AND token = CAST(@token::text AS uuid);

-- name: LeaseEnd :execrows
-- Ends an attempt that does not complete the event. Another one may begin after the pause. If nothing happened in any
-- attempt, it may come with another payload.
UPDATE idem.leases AS l SET token = NULL, state = @state::text, until = clock_timestamp() + @pause::interval, error = @error::text,
    unknown = @unknown::integer, needs_decision = @needs_decision::boolean,
    fingerprint = CASE WHEN @state::text <> 'released' OR @unknown::integer > 0
        OR EXISTS (SELECT FROM idem.results s WHERE s.consumer_id = l.consumer_id AND s.key = l.key AND s.step <> '') THEN l.fingerprint END
WHERE l.consumer_id = @consumer_id AND l.key = CAST(@key::text AS uuid) AND l.token = CAST(@token::text AS uuid);

-- name: LeaseComplete :execrows
-- Ends an attempt in the transaction that claims its event, and stores the result. No row: the lease is lost.
WITH mine AS (
    DELETE FROM idem.leases l
    WHERE l.consumer_id = @consumer_id AND l.key = CAST(@key::text AS uuid) AND l.token = CAST(@token::text AS uuid)
    RETURNING l.consumer_id, l.key
), steps AS (
    DELETE FROM idem.results s USING mine m WHERE s.consumer_id = m.consumer_id AND s.key = m.key AND s.step <> ''
)
INSERT INTO idem.results (consumer_id, key, step, content_type, body)
SELECT m.consumer_id, m.key, '', @content_type::text, @body::bytea FROM mine m
ON CONFLICT (consumer_id, key, step) DO UPDATE SET content_type = excluded.content_type, body = excluded.body, stored_at = excluded.stored_at;

-- name: StepGet :many
-- The result of a step, if an attempt has stored one. No row: the lease is lost.
SELECT (s.key IS NOT NULL)::boolean AS stored, coalesce(s.content_type, '')::text AS content_type, coalesce(s.body, '')::bytea AS body
FROM idem.leases l LEFT JOIN idem.results s ON s.consumer_id = l.consumer_id AND s.key = l.key AND s.step = @step::text
WHERE l.consumer_id = @consumer_id AND l.key = CAST(@key::text AS uuid) AND l.token = CAST(@token::text AS uuid);

-- name: StepStore :one
-- Stores the result of a step, if the lease is still the caller's.
WITH mine AS (
    SELECT l.consumer_id, l.key FROM idem.leases l
    WHERE l.consumer_id = @consumer_id AND l.key = CAST(@key::text AS uuid) AND l.token = CAST(@token::text AS uuid)
    FOR SHARE
), stored AS (
    INSERT INTO idem.results (consumer_id, key, step, content_type, body)
    SELECT m.consumer_id, m.key, @step::text, @content_type::text, @body::bytea FROM mine m
    ON CONFLICT DO NOTHING
)
SELECT EXISTS (SELECT FROM mine) AS mine;

-- name: LeaseDeleteExpired :one
-- Forgets leases that nobody has come back to within their consumer's retention, with their steps, a limited
-- number of them. Those about which an operator has to decide stay, unless their event was processed otherwise.
WITH gone AS (
    DELETE FROM idem.leases d WHERE (d.consumer_id, d.key) IN (
        SELECT l.consumer_id, l.key FROM idem.leases l JOIN idem.consumers c ON c.id = l.consumer_id
        WHERE l.until < now() - c.retention
          AND (l.state = 'released' OR NOT l.needs_decision
               OR EXISTS (SELECT FROM idem.processed_events e WHERE e.consumer_id = l.consumer_id AND e.key = l.key))
        LIMIT @most
        FOR UPDATE OF l SKIP LOCKED)
    RETURNING d.consumer_id, d.key
), steps AS (
    DELETE FROM idem.results s USING gone g WHERE s.consumer_id = g.consumer_id AND s.key = g.key AND s.step <> ''
)
SELECT count(*) FROM gone;

-- name: LeaseCountExpired :one
-- What LeaseDeleteExpired would delete.
SELECT count(*) FROM idem.leases l JOIN idem.consumers c ON c.id = l.consumer_id
WHERE l.until < now() - c.retention
  AND (NOT l.needs_decision OR l.state = 'released'
       OR EXISTS (SELECT FROM idem.processed_events e WHERE e.consumer_id = l.consumer_id AND e.key = l.key));

-- name: LeaseList :many
-- Leases with their states as people see them, the latest first: undecided is what waits for an operator. Without a
-- consumer those of all, without a key all. What is left behind of an event that was processed otherwise is not told.
SELECT c.name AS consumer, l.key, l.event_id, l.fingerprint, l.state::text AS state, l.attempts, l.unknown, coalesce(l.error, '')::text AS error, l.first_micros, l.until_micros,
       l.decided_micros, l.decided_by, l.decision_reason
FROM (
    SELECT s.consumer_id, s.key, s.event_id, coalesce(s.fingerprint, 0)::bigint AS fingerprint, s.attempts, s.error, s.until, s.decided_by, s.decision_reason,
           CASE WHEN s.state = 'running' AND s.until > clock_timestamp() THEN 'running' WHEN s.state = 'released' THEN 'released'
                WHEN s.needs_decision THEN 'undecided' ELSE 'unknown' END AS state,
           (s.unknown + CASE WHEN s.state = 'running' AND s.until <= clock_timestamp() THEN 1 ELSE 0 END)::integer AS unknown,
           (extract(epoch FROM s.first_at) * 1000000)::bigint AS first_micros, (extract(epoch FROM s.until) * 1000000)::bigint AS until_micros,
           coalesce((extract(epoch FROM s.decided_at) * 1000000)::bigint, 0)::bigint AS decided_micros
    FROM idem.leases s
    WHERE (sqlc.narg(consumer_id)::bigint IS NULL OR s.consumer_id = sqlc.narg(consumer_id)::bigint)
      AND (sqlc.narg(key)::text IS NULL OR s.key = CAST(sqlc.narg(key)::text AS uuid))
      AND NOT EXISTS (SELECT FROM idem.processed_events e WHERE e.consumer_id = s.consumer_id AND e.key = s.key)
) l JOIN idem.consumers c ON c.id = l.consumer_id
WHERE l.state = ANY (@states::text[])
ORDER BY l.until DESC, l.key
LIMIT sqlc.narg(max_rows)::integer;

-- name: LeaseUndecided :many
-- How many leases of each consumer wait for an operator, and since when.
SELECT c.name AS consumer, count(*) AS leases, (extract(epoch FROM min(l.until)) * 1000000)::bigint AS oldest_micros
FROM idem.leases l JOIN idem.consumers c ON c.id = l.consumer_id
WHERE l.needs_decision AND l.state <> 'released' AND l.until <= clock_timestamp()
  AND NOT EXISTS (SELECT FROM idem.processed_events e WHERE e.consumer_id = l.consumer_id AND e.key = l.key)
GROUP BY c.name
ORDER BY c.name;

-- name: StepList :many
-- The steps of an event that have taken effect.
SELECT step, content_type, body, (extract(epoch FROM stored_at) * 1000000)::bigint AS stored_micros FROM idem.results
WHERE consumer_id = @consumer_id AND key = @key AND step <> ''
ORDER BY stored_at, step;

-- name: ResultSizes :many
-- What is stored of the steps of an event, and of the event itself (step '').
SELECT step, content_type, octet_length(body)::bigint AS bytes, (extract(epoch FROM stored_at) * 1000000)::bigint AS stored_micros FROM idem.results
WHERE consumer_id = @consumer_id AND key = @key
ORDER BY stored_at, step;

-- name: LeaseDecide :execrows
-- Ends a lease in the transaction that claims its event, for an operator who knows that it took effect. No row: there
-- is none, or an attempt is running, or it has another end than the one that was looked at (0: any will do).
WITH ended AS (
    DELETE FROM idem.leases l
    WHERE l.consumer_id = @consumer_id AND l.key = CAST(@key::text AS uuid)
      AND @until_micros::bigint IN (0, (extract(epoch FROM l.until) * 1000000)::bigint) AND (l.state <> 'running' OR l.until <= clock_timestamp())
    RETURNING l.consumer_id, l.key
), steps AS (
    DELETE FROM idem.results s USING ended m WHERE s.consumer_id = m.consumer_id AND s.key = m.key AND s.step <> ''
)
INSERT INTO idem.results (consumer_id, key, step, content_type, body)
SELECT m.consumer_id, m.key, '', @content_type::text, @body::bytea FROM ended m
ON CONFLICT (consumer_id, key, step) DO UPDATE SET content_type = excluded.content_type, body = excluded.body, stored_at = excluded.stored_at;

-- name: LeaseRerun :execrows
-- Has the next call run an event again, for an operator. No row as with LeaseDecide.
UPDATE idem.leases SET token = NULL, unknown = unknown + CASE WHEN state = 'running' THEN 1 ELSE 0 END, state = 'released', until = clock_timestamp(),
    needs_decision = true, decided_at = clock_timestamp(), decided_by = @decided_by::text, decision_reason = @decision_reason::text
WHERE consumer_id = @consumer_id AND key = CAST(@key::text AS uuid) AND (state <> 'running' OR until <= clock_timestamp())
  AND @until_micros::bigint IN (0, (extract(epoch FROM until) * 1000000)::bigint);
