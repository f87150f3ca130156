-- name: DoctorServer :one
-- What the server says of itself and of this session. The clock is read in microseconds.
SELECT current_setting('server_version_num')::integer AS version_num, current_setting('server_version')::text AS version,
       current_setting('server_encoding')::text AS encoding, pg_is_in_recovery() AS in_recovery, current_user::text AS role,
       current_database()::text AS database, pg_backend_pid() AS pid,
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS clock_micros;

-- name: DoctorSettings :many
-- Settings of this session in their base units: milliseconds for times. Those that this server does not know are left out.
SELECT s.name::text AS name, s.setting::text AS setting, s.source::text AS source
FROM pg_catalog.pg_settings s WHERE s.name = ANY(@names::text[]);

-- name: DoctorTables :many
-- The tables of the schema by what the catalog and the server's statistics say; no right in the schema is needed. Times as
-- in TableState.
SELECT t.relname::text AS name, pg_get_userbyid(t.relowner)::text AS owner, t.relrowsecurity AS row_security,
       row_security_active(t.oid) AS row_security_active, coalesce(t.reloptions, '{}')::text[] AS options,
       age(t.relfrozenxid)::bigint AS frozen_age,
       pg_stat_get_live_tuples(t.oid)::bigint AS live_rows, pg_stat_get_dead_tuples(t.oid)::bigint AS dead_rows,
       coalesce((extract(epoch FROM pg_stat_get_last_vacuum_time(t.oid)) * 1000000)::bigint, 0)::bigint AS last_vacuum_micros,
       coalesce((extract(epoch FROM pg_stat_get_last_autovacuum_time(t.oid)) * 1000000)::bigint, 0)::bigint AS last_autovacuum_micros,
       (extract(epoch FROM now()) * 1000000)::bigint AS read_micros
FROM pg_catalog.pg_class t JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
WHERE n.nspname = @schema::text AND t.relkind = 'r'
ORDER BY t.relname;

-- name: DoctorDatabaseAge :one
-- How many transactions ago all rows of the database were frozen.
SELECT age(d.datfrozenxid)::bigint AS frozen_age FROM pg_catalog.pg_database d WHERE d.datname = current_database();

-- name: DoctorOwners :many
-- What is in the schema, as ALTER names it, and whose it is. Indexes and types follow their tables.
SELECT o.kind, o.name, pg_get_userbyid(o.owner)::text AS owner
FROM (
    SELECT (CASE WHEN c.relkind = 'v' THEN 'VIEW' ELSE 'TABLE' END)::text AS kind, quote_ident(c.relname::text)::text AS name, c.relowner AS owner
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = @schema::text AND c.relkind IN ('r', 'v')
    UNION ALL
    SELECT 'FUNCTION'::text AS kind, (quote_ident(p.proname::text) || '(' || pg_get_function_identity_arguments(p.oid) || ')')::text AS name, p.proowner AS owner
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = @schema::text
) o
ORDER BY o.kind DESC, o.name;

-- name: DoctorSchemaUsage :one
-- Whether this role may use the schema. No row if there is none.
SELECT has_schema_privilege(n.oid, 'USAGE') AS usable FROM pg_catalog.pg_namespace n WHERE n.nspname = @schema::text;

-- name: DoctorMissingRights :many
-- Which of these rights this role lacks. An empty column stands for the whole table. Tables that are not there are left out.
SELECT r.relation::text AS relation, r.column_name::text AS column_name, r.privilege::text AS privilege
FROM (
    SELECT unnest(@relations::text[]) AS relation, unnest(@columns::text[]) AS column_name, unnest(@privileges::text[]) AS privilege
) r
JOIN pg_catalog.pg_class t ON t.relname = r.relation
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace AND n.nspname = @schema::text
WHERE NOT CASE WHEN r.column_name = '' THEN has_table_privilege(t.oid, r.privilege) ELSE has_column_privilege(t.oid, r.column_name, r.privilege) END;

-- name: DoctorSequences :many
-- The sequences of the schema that number a column.
SELECT s.relname::text AS sequence, t.relname::text AS table_name, a.attname::text AS column_name
FROM pg_catalog.pg_class s JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
JOIN pg_catalog.pg_depend d ON d.objid = s.oid AND d.classid = 'pg_catalog.pg_class'::regclass
 AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
WHERE n.nspname = @schema::text AND s.relkind = 'S'
ORDER BY s.relname;

-- name: DoctorTransactions :many
-- The sessions of this database that are in a transaction for longer than some seconds, the oldest first.
SELECT a.pid::integer AS pid, coalesce(a.usename::text, '')::text AS role, coalesce(a.application_name, '')::text AS application,
       coalesce(a.state, '')::text AS state, (extract(epoch FROM now() - a.xact_start))::bigint AS seconds
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.xact_start < now() - make_interval(secs => @seconds::float8)
ORDER BY a.xact_start;

-- name: DoctorHiddenSessions :one
-- How many sessions of this database hide from this role whether they are in a transaction.
SELECT count(*) FROM pg_catalog.pg_stat_activity a
WHERE a.datname = current_database() AND a.query = '<insufficient privilege>';

-- name: DoctorPrepared :many
-- The prepared transactions of this database that are older than some seconds.
SELECT x.gid::text AS gid, x.owner::text AS owner, (extract(epoch FROM now() - x.prepared))::bigint AS seconds
FROM pg_catalog.pg_prepared_xacts x
WHERE x.database = current_database() AND x.prepared < now() - make_interval(secs => @seconds::float8)
ORDER BY x.prepared;

-- name: DoctorSlots :many
-- The replication slots that nobody uses, and how much of the log they keep: -1 where that is not known.
SELECT s.slot_name::text AS slot, s.slot_type::text AS kind,
       coalesce(CASE WHEN NOT pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn) END, -1)::bigint AS kept_bytes
FROM pg_catalog.pg_replication_slots s
WHERE NOT s.active AND NOT s.temporary
ORDER BY s.slot_name;

-- name: DoctorStandbys :many
-- The standbys that receive the server's log. State is empty where this role may not see it.
SELECT coalesce(r.application_name, '')::text AS application, coalesce(r.state, '')::text AS state, coalesce(r.sync_state, '')::text AS sync_state
FROM pg_catalog.pg_stat_replication r
WHERE (r.state IS NULL OR r.state IN ('catchup', 'streaming'))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')
ORDER BY r.application_name;

-- name: DoctorConnections :one
-- How many connections there are, and the limits of this role and this database: -1 for none.
SELECT (SELECT count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datname IS NOT NULL AND a.usename IS NOT NULL) AS used,
       (SELECT count(*) FROM pg_catalog.pg_stat_activity a WHERE a.usename = current_user) AS role_used,
       (SELECT r.rolconnlimit FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)::integer AS role_limit,
       (SELECT count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datname = current_database()) AS database_used,
       (SELECT d.datconnlimit FROM pg_catalog.pg_database d WHERE d.datname = current_database())::integer AS database_limit;

-- name: DoctorPools :many
-- What each consumer needs connections for: its partitions, the lanes of one, its processes.
SELECT c.name AS consumer, count(*) FILTER (WHERE p.lane = 0) AS partitions,
       coalesce(max(p.lane) FILTER (WHERE p.owner_token IS NOT NULL), 0)::integer AS lanes,
       count(DISTINCT p.owner) FILTER (WHERE p.lane = 0) AS owners
FROM idem.checkpoints p JOIN idem.consumers c ON c.id = p.consumer_id
GROUP BY c.name
ORDER BY c.name;

-- name: DoctorCheckpoints :many
-- The checkpoints with what their owners have noted. Time as in ConsumerByName.
SELECT c.name AS consumer, p.topic, p.partition, p.next_offset, p.epoch, p.reset_epoch, (p.owner_token IS NOT NULL)::boolean AS owned,
       coalesce(p.started_offset, -1)::bigint AS started_offset, p.starts,
       (extract(epoch FROM greatest(least(p.acquired_at, timestamptz '9999-12-31 23:59:59+00'), timestamptz '0001-01-01 00:00:00+00 BC')) * 1000000)::bigint AS acquired_micros
FROM idem.checkpoints p JOIN idem.consumers c ON c.id = p.consumer_id
WHERE p.lane = 0
ORDER BY c.name, p.topic, p.partition;

-- name: DoctorUnknownConsumers :many
-- The ids under which events are claimed or leased, and which no consumer has, with how many of both they have, up to a limit each. Goes from one
-- id to the next by the indexes.
WITH RECURSIVE used AS (
    SELECT least((SELECT min(e.consumer_id) FROM idem.processed_events e), (SELECT min(l.consumer_id) FROM idem.leases l)) AS id
    UNION ALL
    SELECT least((SELECT min(e.consumer_id) FROM idem.processed_events e WHERE e.consumer_id > u.id),
                 (SELECT min(l.consumer_id) FROM idem.leases l WHERE l.consumer_id > u.id))
    FROM used u WHERE u.id IS NOT NULL
)
SELECT u.id::bigint AS id,
       (SELECT count(*) FROM (SELECT FROM idem.processed_events e WHERE e.consumer_id = u.id LIMIT @max_rows::integer) counted) AS events,
       (SELECT count(*) FROM (SELECT FROM idem.leases l WHERE l.consumer_id = u.id LIMIT @max_rows::integer) counted) AS leases
FROM used u
WHERE u.id IS NOT NULL AND NOT EXISTS (SELECT FROM idem.consumers c WHERE c.id = u.id)
ORDER BY u.id;

-- name: DoctorDeadLetters :many
-- Since when the oldest unresolved dead letter of each consumer waits. Time as in ConsumerByName.
SELECT c.name AS consumer, count(*) AS unresolved,
       (extract(epoch FROM greatest(least(min(d.failed_at), timestamptz '9999-12-31 23:59:59+00'), timestamptz '0001-01-01 00:00:00+00 BC')) * 1000000)::bigint AS oldest_micros
FROM idem.dead_letters d JOIN idem.consumers c ON c.id = d.consumer_id
WHERE d.state IN ('open', 'parked', 'replay')
GROUP BY c.name
ORDER BY c.name;
