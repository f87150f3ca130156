-- name: SchemaVersion :one
-- The number of the latest migration of the tables, whoever ran it. Every role that may use the schema
-- may ask.
SELECT idem.schema_version() AS version;

-- name: ServerTime :one
-- The time of the transaction, by this server's clock, in microseconds since 1970.
SELECT (extract(epoch FROM now()) * 1000000)::bigint AS now_micros;

-- name: ConsumerGet :one
-- The retention is a number, because how the server writes an interval as text, in which some query
-- execution modes get it, follows from the session's IntervalStyle.
SELECT name, (extract(epoch FROM retention) * 1000000)::bigint AS retention_micros, bound_cluster, bound_group, closed
FROM idem.consumers WHERE id = @id;

-- name: TablesExist :one
-- Whether the schema holds the guard's tables. Everybody may ask.
SELECT (pg_catalog.to_regclass('idem.processed_events') IS NOT NULL)::boolean AS found;

-- name: ConsumerByName :one
-- Retention and time are numbers, as in ConsumerGet. A time that neither Go nor JSON can hold, infinity for
-- instance, is the first or the last one that they can.
SELECT id, name, (extract(epoch FROM retention) * 1000000)::bigint AS retention_micros,
       (extract(epoch FROM greatest(least(created_at, timestamptz '9999-12-31 23:59:59+00'), timestamptz '0001-01-01 00:00:00+00 BC')) * 1000000)::bigint AS created_micros, bound_cluster, bound_group, closed,
       coalesce((extract(epoch FROM greatest(least(paused_at, timestamptz '9999-12-31 23:59:59+00'), timestamptz '0001-01-01 00:00:00+00 BC')) * 1000000)::bigint, 0)::bigint AS paused_micros, paused_by, pause_reason
FROM idem.consumers WHERE id = idem.consumer_id(@name) AND name = @name;

-- name: ConsumerInsert :exec
-- The first registration wins: an existing row, and with it its retention, is left alone.
INSERT INTO idem.consumers (id, name, retention)
VALUES (@id, @name, @retention)
ON CONFLICT (id) DO NOTHING;

-- name: ConsumerBind :exec
-- Binds a consumer to a group of a cluster, unless it is bound already.
UPDATE idem.consumers SET bound_cluster = @bound_cluster::text, bound_group = @bound_group::text
WHERE id = @id AND bound_group IS NULL;

-- name: ConsumerSetRetention :execrows
-- Changes how long ids are remembered from now on; what is forgotten already stays so. Not if it is another than previous by now (0: any), nor
-- of a consumer that is being renamed, whose new name has its retention already.
UPDATE idem.consumers SET retention = @retention
WHERE id = idem.consumer_id(@name) AND name = @name AND closed IS NULL AND @previous::interval IN (interval '0', retention);

-- name: ConsumerList :many
-- All of them: consumers are services, so there are few. Retention and time are as in ConsumerByName.
SELECT id, name, (extract(epoch FROM retention) * 1000000)::bigint AS retention_micros,
       (extract(epoch FROM greatest(least(created_at, timestamptz '9999-12-31 23:59:59+00'), timestamptz '0001-01-01 00:00:00+00 BC')) * 1000000)::bigint AS created_micros, bound_cluster, bound_group, closed,
       coalesce((extract(epoch FROM greatest(least(paused_at, timestamptz '9999-12-31 23:59:59+00'), timestamptz '0001-01-01 00:00:00+00 BC')) * 1000000)::bigint, 0)::bigint AS paused_micros, paused_by, pause_reason
FROM idem.consumers ORDER BY name;

-- name: WALPosition :one
-- Where the server's log of changes ends, in bytes, and its timeline, which each promotion of a standby
-- counts up.
SELECT ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(l.lsn), 1, 8))::bit(32)::bigint AS timeline,
       pg_catalog.pg_wal_lsn_diff(l.lsn, '0/0'::pg_lsn)::bigint AS lsn
FROM (SELECT pg_catalog.pg_current_wal_insert_lsn() AS lsn) l;

-- name: ConsumerRebind :execrows
-- For an operator: binds a consumer to a group of a cluster, or to none. Not if it belongs to another than previous by now (empty: none).
-- Closed ones are as in ConsumerSetRetention.
UPDATE idem.consumers SET bound_cluster = sqlc.narg(bound_cluster)::text, bound_group = sqlc.narg(bound_group)::text
WHERE id = @id AND closed IS NULL AND coalesce(bound_cluster, '') = @previous_cluster::text AND coalesce(bound_group, '') = @previous_group::text;

-- name: ConsumerPause :execrows
-- For an operator: pauses a consumer that is not paused.
UPDATE idem.consumers SET paused_at = now(), paused_by = @paused_by::text, pause_reason = @pause_reason::text
WHERE id = @id AND paused_at IS NULL AND closed IS NULL;

-- name: SessionRole :one
-- Who has connected, whatever role was set since.
SELECT session_user::text AS role;

-- name: ConsumerResume :execrows
UPDATE idem.consumers SET paused_at = NULL, paused_by = NULL, pause_reason = NULL WHERE id = @id AND paused_at IS NOT NULL AND closed IS NULL;

-- name: ConsumerPaused :many
-- The pause of a consumer, if it is paused. Services ask once a second. The time is as in ConsumerByName.
SELECT (extract(epoch FROM greatest(least(paused_at, timestamptz '9999-12-31 23:59:59+00'), timestamptz '0001-01-01 00:00:00+00 BC')) * 1000000)::bigint AS paused_micros,
       coalesce(paused_by, '') AS paused_by, coalesce(pause_reason, '') AS pause_reason
FROM idem.consumers WHERE id = @id AND paused_at IS NOT NULL;
